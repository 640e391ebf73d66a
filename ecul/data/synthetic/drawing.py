"""Draws any list of synthetic images: who, by which camera, which shot."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic.cameras import draw_cameras
from ecul.data.synthetic.difficulty import SyntheticDifficulty
from ecul.data.synthetic.people import draw_people
from ecul.data.synthetic.poses import draw_poses
from ecul.types import IntArray


@dataclass(frozen=True)
class Shots:
    """What to draw; N images.

    Attributes:
        identity: int32 (N,), not negative.
        camera: int32 (N,), not negative.
        number: int32 (N,), tells apart the images of one identity and camera.
        infrared: whether all of them are infrared.
    """

    identity: IntArray
    camera: IntArray
    number: IntArray
    infrared: bool

    def __len__(self) -> int:
        """Number of images."""
        return len(self.identity)

    def __getitem__(self, part: slice) -> "Shots":
        """Some of the shots."""
        return replace(self, identity=self.identity[part], camera=self.camera[part], number=self.number[part])


def draw_shots(
    shots: Shots, *, seed: int, population: int, height: int, width: int, difficulty: SyntheticDifficulty
) -> NDArray[np.uint8]:
    """Returns uint8 (N, height, width, C), C = 1 for infrared, else 3.

    An image depends on the seed, its population, identity, camera, number and modality only, not on the others.

    Args:
        shots: what to draw.
        seed: of the dataset.
        population: number of the population; other populations have other people and cameras.
        height: of an image, in pixels.
        width: of an image, in pixels.
        difficulty: the knobs.
    """
    from ecul.data.synthetic.rendering import empty_images, render_images  # compiles: only who draws should wait

    identities, which_person = np.unique(shots.identity, return_inverse=True)
    cameras, which_camera = np.unique(shots.camera, return_inverse=True)
    people, tones = draw_people(seed, population, identities, difficulty)
    camera_records = draw_cameras(seed, population, cameras, difficulty)[which_camera]
    images = (shots.identity, shots.camera, 2 * shots.number + int(shots.infrared))
    poses: NDArray[Any] = draw_poses(seed, population, images, people[which_person], camera_records, difficulty)
    out = empty_images(len(shots), height=height, width=width, infrared=shots.infrared)
    render_images(people[which_person], tones[which_person], poses, camera_records, shots.infrared, out)
    return out
