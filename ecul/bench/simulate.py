"""Simulated embeddings of people under visible and infrared cameras, for tests and benchmarks of the clustering."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecul.data.synthetic.presence import SYSU_TRAINING
from ecul.types import FeatureBank, FloatArray, IntArray, Modality

BLOCK = 65_536


@dataclass(frozen=True)
class Strengths:
    """How much each cause adds to an embedding, in units of a unit vector of random direction."""

    identity: float = 1.0
    identity_in_modality: float = 0.6
    modality: float = 1.0
    camera: float = 0.4
    identity_in_camera: float = 0.35
    noise: float = 0.9


WIDE_GAP = Strengths(identity_in_modality=0.8, modality=1.2, noise=1.0)


def spread(total: int, parts: int) -> NDArray[np.int64]:
    """`total` as evenly as possible over `parts`."""
    return np.diff(np.arange(parts + 1, dtype=np.int64) * total // parts)


def sysu_counts(num_images: int) -> NDArray[np.int64]:
    """Images (6, K) of each identity under each camera, in the proportions of SYSU-MM01's training set.

    34,167 images give its 395 identities and its six camera totals exactly; other sizes take fewer identities or
    repeat them, and cut the last one short.
    """
    blocks = [np.stack([spread(images, people) for images in cameras]) for people, cameras in SYSU_TRAINING]
    table = np.concatenate(blocks, axis=1)
    table = table[:, np.random.default_rng(0).permutation(table.shape[1])]
    table = np.tile(table, -(-num_images // int(table.sum())))
    missing = num_images - np.concatenate([[0], table.sum(0).cumsum()])
    table = table[:, : int(np.count_nonzero(missing > 0))]
    surplus = int(table.sum()) - num_images
    for camera in range(len(table)):
        cut = min(surplus, int(table[camera, -1]))
        table[camera, -1] -= cut
        surplus -= cut
    return table


def even_counts(num_images: int, num_groups: int, *, images_per_identity: int = 60) -> NDArray[np.int64]:
    """Images (num_groups, K) of each identity under each camera, all as equal as possible."""
    people = max(1, num_images // images_per_identity)
    return np.stack([spread(int(images), people) for images in spread(num_images, num_groups)])


def modality_of_groups(num_groups: int) -> tuple[int, ...]:
    """One third of the cameras infrared, the last ones; with one camera it is visible."""
    num_visible = num_groups - num_groups // 3 if num_groups != 2 else 1
    return tuple(int(camera >= num_visible) for camera in range(num_groups))


def simulate_bank(
    counts: NDArray[np.integer],
    modality: Sequence[int],
    dim: int,
    *,
    seed: int,
    strengths: Strengths = Strengths(),
) -> tuple[FeatureBank, IntArray]:
    """A bank of simulated unit embeddings in random order, and the identities.

    An embedding is the sum of its causes, each a standard normal vector over sqrt(dim), normalised.

    Args:
        counts: images (C, K) of each identity under each camera.
        modality: value of `Modality` of each camera.
        dim: embedding size.
        seed: of everything random.
        strengths: weight of each cause.
    """
    rng = np.random.default_rng(seed)
    num_cameras, num_people = counts.shape

    def direction(*shape: int) -> FloatArray:
        return rng.standard_normal((*shape, dim), np.float32) / np.float32(np.sqrt(dim))

    person = strengths.identity * direction(num_people)
    in_modality = strengths.identity_in_modality * direction(len(Modality), num_people)
    gap = strengths.modality * direction(len(Modality))
    place = strengths.camera * direction(num_cameras)
    cell = np.repeat(np.arange(num_cameras * num_people), counts.reshape(-1))
    cell = cell[rng.permutation(len(cell))]
    camera, identity = (cell // num_people).astype(np.int32), (cell % num_people).astype(np.int32)
    kind = np.asarray(modality, np.int32)[camera]
    in_camera = strengths.identity_in_camera * direction(num_cameras, num_people)
    features = np.empty((len(cell), dim), np.float32)
    for start in range(0, len(cell), BLOCK):
        rows = slice(start, start + BLOCK)
        who, where, seen = identity[rows], camera[rows], kind[rows]
        block = person[who] + in_modality[seen, who] + gap[seen] + place[where] + in_camera[where, who]
        block += strengths.noise * direction(len(block))
        features[rows] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return FeatureBank(features, kind, camera), identity
