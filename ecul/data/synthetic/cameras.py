"""Synthetic cameras: what stays the same in all images of one camera."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic.counters import Stream
from ecul.data.synthetic.difficulty import SyntheticDifficulty
from ecul.data.synthetic.people import tint

CLOUDS, TILES, PLANKS, SLANTS = range(4)
_CAMERA_KIND, _INFRARED_NOISE = 21, 1.5

CAMERA = np.dtype(
    [
        ("wall", np.float32, 4),  # red, green, blue, infrared
        ("floor", np.float32, 4),
        ("gain", np.float32, 4),
        ("texture", np.int32),
        ("texture_size", np.float32),  # of one tile, in frame heights
        ("texture_contrast", np.float32),
        ("horizon", np.float32),  # where wall meets floor, in frame heights
        ("gamma", np.float32),
        ("blur", np.float32),
        ("noise", np.float32),
        ("infrared_noise", np.float32),
        ("vignette", np.float32),  # loss of infrared light at the frame's corners
        ("light", np.float32),  # brightness difference between a body's two sides
        ("scale", np.float32),  # person height, in frame heights
        ("squeeze", np.float32),  # body width against upright view
        ("lean", np.float32),
    ],
    align=True,
)


def draw_cameras(
    seed: int, population: int, cameras: NDArray[np.integer[Any]], difficulty: SyntheticDifficulty
) -> NDArray[Any]:
    """Returns records `CAMERA` for camera numbers, each with its own scene, light and framing."""
    stream = Stream(seed, _CAMERA_KIND, np.asarray(population), cameras)
    records = np.zeros(stream.shape, CAMERA)
    for surface in ("wall", "floor"):
        tone, hue, saturation = stream.uniform(0.2, 0.7), stream.uniform(), stream.uniform(0.1, 0.6)
        records[surface][:, :3] = tint(tone, hue, saturation)
        records[surface][:, 3] = stream.uniform(0.08, 0.32)
    brightness = stream.uniform(-difficulty.gain_range, difficulty.gain_range)
    for channel in range(3):
        shift = stream.uniform(-difficulty.tint_range, difficulty.tint_range)
        records["gain"][:, channel] = np.exp(brightness + shift)
    records["gain"][:, 3] = np.exp(stream.uniform(-difficulty.gain_range, difficulty.gain_range))
    records["texture"] = stream.choose((0.25, 0.25, 0.25, 0.25))
    records["texture_size"] = stream.uniform(0.08, 0.22)
    records["texture_contrast"] = difficulty.background_contrast * stream.uniform(0.5, 1.0)
    records["horizon"] = stream.uniform(0.55, 0.85)
    records["gamma"] = np.exp(stream.uniform(-0.2, 0.2))
    records["blur"] = stream.uniform(0.0, difficulty.blur)
    records["noise"] = stream.uniform(0.3, 1.0) * difficulty.pixel_noise
    records["infrared_noise"] = _INFRARED_NOISE * records["noise"]
    records["vignette"] = stream.uniform(0.1, 0.5)
    records["light"] = stream.uniform(-0.25, 0.25)
    records["scale"] = stream.uniform(0.86, 0.92)
    records["squeeze"] = stream.uniform(0.92, 1.08)
    records["lean"] = stream.uniform(-1.0, 1.0) * difficulty.lean_jitter
    return records
