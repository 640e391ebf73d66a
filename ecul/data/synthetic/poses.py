"""Synthetic poses: what differs from one image of a person to the next. Units as in `people`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic.counters import Stream, hash_keys
from ecul.data.synthetic.difficulty import SyntheticDifficulty

NO_OCCLUDER, FROM_BELOW, FROM_SIDE = range(3)
ARM_LENGTH = 0.36
SHOULDER_V = 0.185
_POSE_KIND, _NOISE_KIND = 31, 32

POSE = np.dtype(
    [
        ("scale", np.float32),  # person height, in frame heights
        ("narrow", np.float32),  # seen width against true width
        ("centre", np.float32),  # of the person, from the frame's middle, in frame heights
        ("top", np.float32),  # of the head, in frame heights
        ("lean", np.float32),  # sideways shift per height
        ("mirror", np.float32),  # 1, or -1 seen mirrored
        ("hand_u", np.float32, 2),
        ("hand_v", np.float32, 2),
        ("foot_u", np.float32, 2),
        ("foot_v", np.float32, 2),
        ("background_x", np.float32),  # what part of the scene is behind, in frame heights
        ("background_y", np.float32),
        ("exposure", np.float32),  # brightness gain of the image
        ("occluder", np.int32),
        ("occluder_size", np.float32),  # signed: the side it comes from
        ("occluder_tone", np.float32),
        ("noise_key", np.uint64),
    ],
    align=True,
)


def draw_poses(
    seed: int,
    population: int,
    images: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]], NDArray[np.integer[Any]]],
    people: NDArray[Any],
    cameras: NDArray[Any],
    difficulty: SyntheticDifficulty,
) -> NDArray[Any]:
    """Returns records `POSE` (N,).

    Args:
        seed: of the dataset.
        population: number of the population.
        images: identity, camera and running number of each of N images.
        people: records `PERSON` (N,), one for each image.
        cameras: records `CAMERA` (N,), one for each image.
        difficulty: the knobs.
    """
    stream = Stream(seed, _POSE_KIND, np.asarray(population), *images)
    poses = np.zeros(stream.shape, POSE)
    _draw_framing(poses, stream, cameras, difficulty)
    _draw_limbs(poses, stream, people, difficulty.pose_jitter)
    _draw_occluder(poses, stream, difficulty)
    poses["background_x"] = stream.uniform(0.0, 0.6)
    poses["background_y"] = stream.uniform(-0.05, 0.05)
    poses["exposure"] = np.exp(stream.uniform(-difficulty.exposure_jitter, difficulty.exposure_jitter))
    poses["noise_key"] = hash_keys(seed, _NOISE_KIND, population, *images)
    return poses


def _draw_framing(poses: NDArray[Any], stream: Stream, cameras: NDArray[Any], difficulty: SyntheticDifficulty) -> None:
    size, shift = difficulty.scale_jitter, difficulty.shift_jitter
    poses["scale"] = cameras["scale"] * stream.uniform(1 - size, 1 + size)
    poses["narrow"] = cameras["squeeze"] * (1.0 - difficulty.narrowing * stream.uniform())
    poses["centre"] = stream.uniform(-shift, shift)
    poses["top"] = 0.5 * (1.0 - poses["scale"]) + stream.uniform(-shift, shift)
    poses["lean"] = cameras["lean"] + stream.uniform(-1.0, 1.0) * difficulty.lean_jitter
    poses["mirror"] = np.where(stream.chance(difficulty.mirror_share), -1.0, 1.0)


def _draw_limbs(poses: NDArray[Any], stream: Stream, people: NDArray[Any], jitter: float) -> None:
    for limb, side in enumerate((-1.0, 1.0)):
        arm = np.maximum(people["arm_spread"] + stream.uniform(-jitter, jitter), 0.02)
        poses["hand_u"][:, limb] = side * (people["shoulder"] - 0.02 + ARM_LENGTH * np.sin(arm))
        poses["hand_v"][:, limb] = SHOULDER_V + ARM_LENGTH * np.cos(arm) * stream.uniform(0.92, 1.0)
        leg = people["stance"] + stream.uniform(-0.5, 0.5) * jitter
        poses["foot_u"][:, limb] = side * (0.5 * people["hip"] + (1.0 - people["hip_v"]) * np.sin(leg))
        poses["foot_v"][:, limb] = 0.975 - stream.uniform(0.0, 0.3) * jitter


def _draw_occluder(poses: NDArray[Any], stream: Stream, difficulty: SyntheticDifficulty) -> None:
    half = difficulty.occlusion_share / 2
    poses["occluder"] = stream.choose((1 - difficulty.occlusion_share, half, half))
    side = np.where(stream.chance(0.5), 1.0, -1.0)
    poses["occluder_size"] = side * difficulty.occlusion_size * stream.uniform(0.4, 1.0)
    poses["occluder_tone"] = stream.uniform(0.15, 0.6)
