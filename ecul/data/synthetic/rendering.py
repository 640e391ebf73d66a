"""Turns people, poses and cameras into pixels: background, figure, occluder, then the camera's optics and sensor."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic import cameras, poses
from ecul.data.synthetic.figure import NOTHING, figure_at, fraction, half_extent

SUPERSAMPLING = 2
_INFRARED_CHANNEL = 3
_compiled = numba.njit(cache=True, nogil=True)


@_compiled
def render_images(people: Any, tones: Any, pose_records: Any, camera_records: Any, infrared: bool, out: Any) -> None:
    """Draws images into `out`.

    Args:
        people: records `PERSON` (N,), one for each image; likewise `pose_records` and `camera_records`.
        tones: float32 (N, NUM_MATERIALS, 4) of each image's person.
        pose_records: records `POSE` (N,).
        camera_records: records `CAMERA` (N,).
        infrared: draw the infrared channel alone.
        out: uint8 (N, H, W, C), C = 1 for infrared, else 3; filled.
    """
    height, width, num_channels = out.shape[1:]
    first = _INFRARED_CHANNEL if infrared else 0
    light = np.empty((height, width, num_channels), np.float32)
    blurred = np.empty((height, width, num_channels), np.float32)
    for image in range(len(out)):
        _draw_background(camera_records[image], pose_records[image], first, light)
        _draw_figure(people[image], tones[image], pose_records[image], camera_records[image], first, light)
        _draw_occluder(pose_records[image], camera_records[image], light)
        _blur(light, camera_records[image].blur, blurred)
        _expose(blurred, camera_records[image], pose_records[image], first, out[image])


@_compiled
def _hash(key: Any, counter: int) -> Any:
    """64 well-mixed bits (SplitMix64 finaliser)."""
    state = key + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@_compiled
def _normal(bits: Any) -> float:
    """About standard normal: the centred, scaled sum of the four 16-bit parts of 64 bits."""
    mask = np.uint64(0xFFFF)
    parts = (
        (bits & mask) + ((bits >> np.uint64(16)) & mask) + ((bits >> np.uint64(32)) & mask) + (bits >> np.uint64(48))
    )
    return (float(parts) / 65535.0 - 2.0) * 1.7320508


@_compiled
def _texture(kind: int, x: float, y: float, size: float) -> float:
    """Texture of a scene at a place, in [-0.5, 0.5]."""
    a, b = x / size, y / size
    if kind == cameras.TILES:
        edge = fraction(a) < 0.15 or fraction(b) < 0.15
        return -0.5 if edge else 0.2
    if kind == cameras.PLANKS:
        return 0.35 if fraction(a) < 0.5 else -0.35
    if kind == cameras.SLANTS:
        return 0.5 * np.sin(4.0 * (a + 0.6 * b))
    return 0.25 * (np.sin(2.1 * a + 1.3 * b) + np.sin(1.1 * a - 2.3 * b + 2.0))


@_compiled
def _draw_background(camera: Any, pose: Any, first: int, light: Any) -> None:
    height, width, num_channels = light.shape
    for row in range(height):
        y = (row + 0.5) / height + pose.background_y
        floor = y > camera.horizon
        for column in range(width):
            x = (column + 0.5) / height + pose.background_x
            texture = _texture(camera.texture, x, y * (2.0 if floor else 1.0), camera.texture_size)
            factor = 1.0 + camera.texture_contrast * texture * (0.6 if floor else 1.6)
            for channel in range(num_channels):
                tone = camera.floor[first + channel] if floor else camera.wall[first + channel]
                light[row, column, channel] = tone * factor


@_compiled
def _draw_figure(person: Any, tones: Any, pose: Any, camera: Any, first: int, light: Any) -> None:
    """Lays the person over the background, each pixel the mean of SUPERSAMPLING^2 points."""
    height, width, num_channels = light.shape
    samples = SUPERSAMPLING * SUPERSAMPLING
    total = np.empty(num_channels, np.float32)
    step = 1.0 / (SUPERSAMPLING * height)
    middle = 0.5 * width / height + pose.centre
    extent = half_extent(person, pose)
    for row in range(height):
        for column in range(width):
            total[:] = 0.0
            covered = 0
            for sample in range(samples):
                y = (SUPERSAMPLING * row + sample // SUPERSAMPLING + 0.5) * step
                x = (SUPERSAMPLING * column + sample % SUPERSAMPLING + 0.5) * step
                v = (y - pose.top) / pose.scale
                u = pose.mirror * ((x - middle) / (pose.scale * pose.narrow) + pose.lean * (v - 0.5))
                if v < -0.02 or v > 1.02 or abs(u) > extent:
                    continue
                material, shade = figure_at(u, v, person, pose)
                if material == NOTHING:
                    continue
                covered += 1
                shade *= 1.0 + camera.light * pose.mirror * u * 4.0
                for channel in range(num_channels):
                    total[channel] += shade * tones[material, first + channel]
            if covered > 0:
                for channel in range(num_channels):
                    rest = light[row, column, channel] * (samples - covered)
                    light[row, column, channel] = (total[channel] + rest) / samples


@_compiled
def _draw_occluder(pose: Any, camera: Any, light: Any) -> None:
    if pose.occluder == poses.NO_OCCLUDER:
        return
    height, width, num_channels = light.shape
    size = abs(pose.occluder_size)
    for row in range(height):
        for column in range(width):
            if pose.occluder == poses.FROM_BELOW:
                hidden = row >= height * (1.0 - size)
            else:
                hidden = (column if pose.occluder_size < 0.0 else width - 1 - column) < width * size
            if hidden:
                for channel in range(num_channels):
                    light[row, column, channel] = pose.occluder_tone


@_compiled
def _blur(light: Any, strength: float, out: Any) -> None:
    """Mixes each pixel with the binomial 3x3 mean around it; the frame's edge repeats."""
    height, width, num_channels = light.shape
    for row in range(height):
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(width):
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            for channel in range(num_channels):
                middle = light[row, column, channel]
                cross = light[above, column, channel] + light[below, column, channel]
                cross += light[row, left, channel] + light[row, right, channel]
                corners = light[above, left, channel] + light[above, right, channel]
                corners += light[below, left, channel] + light[below, right, channel]
                mean = (4.0 * middle + 2.0 * cross + corners) / 16.0
                out[row, column, channel] = middle + strength * (mean - middle)


@_compiled
def _expose(light: Any, camera: Any, pose: Any, first: int, out: Any) -> None:
    """Applies vignette, gain, gamma and noise, and rounds to 8 bits."""
    height, width, num_channels = light.shape
    infrared = first == _INFRARED_CHANNEL
    noise = camera.infrared_noise if infrared else camera.noise
    for row in range(height):
        y = 2.0 * (row + 0.5) / height - 1.0
        for column in range(width):
            x = 2.0 * (column + 0.5) / width - 1.0
            vignette = 1.0 - 0.5 * camera.vignette * (x * x + y * y) if infrared else 1.0
            for channel in range(num_channels):
                value = max(light[row, column, channel] * vignette * pose.exposure * camera.gain[first + channel], 0.0)
                value = value**camera.gamma
                counter = (row * width + column) * num_channels + channel + 1
                value += noise * _normal(_hash(pose.noise_key, counter))
                out[row, column, channel] = np.uint8(min(max(value, 0.0), 1.0) * 255.0 + 0.5)


def empty_images(count: int, *, height: int, width: int, infrared: bool) -> NDArray[np.uint8]:
    """Returns room for `render_images`: uint8 (count, height, width, 1 or 3)."""
    return np.empty((count, height, width, 1 if infrared else 3), np.uint8)
