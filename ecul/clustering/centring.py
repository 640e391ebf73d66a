"""Centring: the mean embedding of each group of images is subtracted, and the rows are normalised again.

Everything is decided in fixed point, as distances are (`ecul.clustering.search.exact`): sums of whole numbers have no
order, so no bit of the result depends on the order of the images, on threads or on the machine.
"""

from dataclasses import replace
from typing import get_args

import numba
import numpy as np

from ecul.clustering.search.exact import fixed_point
from ecul.names import Centring
from ecul.types import FeatureBank, group_ids


@numba.njit(cache=True, nogil=True)
def _sums(features, group, out):
    for row in range(len(features)):
        for d in range(features.shape[1]):
            out[group[row], d] += np.int64(fixed_point(features[row, d]))


@numba.njit(cache=True, nogil=True)
def _subtract(features, group, means, out):
    rest = np.empty(features.shape[1], np.int64)
    for row in range(len(features)):
        square = np.int64(0)
        for d in range(features.shape[1]):
            rest[d] = np.int64(fixed_point(features[row, d])) - means[group[row], d]
            square += rest[d] * rest[d]
        if square == 0:  # nothing is left that could be normalised
            out[row] = features[row]
            continue
        norm = np.sqrt(np.float64(square))
        for d in range(features.shape[1]):
            out[row, d] = np.float32(np.float64(rest[d]) / norm)


def centred(bank: FeatureBank, centring: str) -> FeatureBank:
    """The bank with each group's mean subtracted and its rows normalised again.

    Args:
        bank: float32 unit rows with modality and camera.
        centring: `camera` (groups are modality and camera), `modality`, or `none` for the bank as it is. An image that
            equals its group's mean, such as the only one of its camera, stays as it is.

    Raises:
        ValueError: an unknown name.
    """
    if centring not in get_args(Centring):
        raise ValueError(f"got centring {centring!r}; choose {' or '.join(get_args(Centring))}")
    if centring == "none" or not len(bank):
        return bank
    cameras = bank.camera if centring == "camera" else np.zeros_like(bank.camera)
    group = group_ids(bank.modality, cameras)
    sums = np.zeros((int(group.max()) + 1, bank.features.shape[1]), np.int64)
    _sums(bank.features, group, sums)
    # below 2^53 for up to 2^23 images, so both are exact as float64 and the quotient is rounded once
    means = np.rint(sums / np.bincount(group)[:, None]).astype(np.int64)
    out = np.empty_like(bank.features)
    _subtract(bank.features, group, means, out)
    return replace(bank, features=out)
