"""The one place where distances are decided: exact inner products in fixed point.

A feature x counts as the integer round(x * 2^30). Products of two such integers are summed in 64 bits: rows have norm
1 within `NORM_TOLERANCE`, so by Cauchy-Schwarz no partial sum exceeds 2^60 by more than that, and nothing overflows.
Integer sums have no rounding, so they do not depend on their order, on vector width, threads, machine or device.
The distance 2 - 2 cos is the integer 2^61 - 2 S; neighbours are ordered by (this integer, index).
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.types import FloatArray, IntArray

SCALE = 2.0**30
NORM_TOLERANCE = 1e-3
"""Largest difference of a row's norm from 1."""
FAR = np.iinfo(np.int64).max
_TWO = 2**61
_UNIT = 2.0**-60


@dataclass(frozen=True)
class Images:
    """The images of a search, in group order.

    Attributes:
        features: float32 (N, D), unit rows.
        names: int32 (N,), the number that each image has in the lists; ties go to the lower one.
        group: int32 (N,), as of `NeighborSpec`.
        slot: int32 (G, G), as of `NeighborSpec`.
    """

    features: FloatArray
    names: IntArray
    group: IntArray
    slot: IntArray


@dataclass(frozen=True)
class Proposals:
    """Pairs that a search proposes as neighbours of some images, in no order.

    Attributes:
        images: int32 (R,), the images, by their place in the group order.
        index: int32 (R, S, K), images proposed for each list, likewise; -1 for none. Never the image itself.
        similarity: float32 or float64 (R, S, K), as the search computed it; -inf where there is none.
        floor: of the same type, (R, S); no pair left out has a larger similarity, as the search computes it.
            -inf where no pair was left out.
    """

    images: IntArray
    index: IntArray
    similarity: NDArray[np.floating]
    floor: NDArray[np.floating]


@numba.njit(cache=True, nogil=True, inline="always")
def fixed_point(x):
    """A feature in fixed point. The product is exact (a power of two), so this is one rounding, half to even."""
    return np.int32(np.rint(x * np.float32(SCALE)))


def in_fixed_point(features: FloatArray) -> NDArray[np.float64]:
    """The features as the exact kernel sees them, rounded to 2^-30."""
    return np.rint(features.astype(np.float64) * SCALE) / SCALE


@numba.njit(cache=True, nogil=True)
def load_row(row, fixed):
    """Writes a row in fixed point, so that it is rounded once for all its pairs."""
    for d in range(len(row)):
        fixed[d] = fixed_point(row[d])


@numba.njit(cache=True, nogil=True)
def pair_distance(fixed, row):
    """2^60 times the squared distance of a row in fixed point and a row of features: exact, at least 0."""
    total = np.int64(0)
    for d in range(len(row)):
        total += np.int64(fixed[d]) * np.int64(fixed_point(row[d]))
    return max(np.int64(_TWO) - 2 * total, np.int64(0))


@numba.njit(cache=True, nogil=True, inline="always")
def as_float(distance):
    """The distance as a float32 in [0, 4], rounded once."""
    return np.float32(np.float64(distance) * _UNIT)


@numba.njit(cache=True, nogil=True)
def _insert(distance, index, count, size, d, j):
    """Enters (d, j) into the ascending list of at most `size` pairs; returns the new count."""
    if count == size:
        if d > distance[size - 1] or (d == distance[size - 1] and j > index[size - 1]):
            return count
        count -= 1
    place = count
    while place > 0 and (distance[place - 1] > d or (distance[place - 1] == d and index[place - 1] > j)):
        distance[place], index[place] = distance[place - 1], index[place - 1]
        place -= 1
    distance[place], index[place] = d, j
    return count + 1


@numba.njit(cache=True, nogil=True)
def _nth_largest(values, n):
    """The n-th largest value, -inf if there are fewer or n is 0."""
    if n < 1 or n > len(values):
        return -np.inf
    return np.float64(np.sort(values)[len(values) - n])


@numba.njit(cache=True, nogil=True)
def _decide(
    features, names, group, slot, rows, images, proposed, similarity, floor, error, base, index, distance, certified
):  # fmt: skip
    """Decides rows of the proposals; returns the largest |similarity - exact similarity| met."""
    depth = index.shape[2]
    fixed = np.empty(features.shape[1], np.int32)
    found, numbers = np.empty(depth, np.int64), np.empty(depth, np.int32)
    worst = 0.0
    for r in rows:
        image = images[r]
        row = names[image] - base
        load_row(features[image], fixed)
        sure = True
        for s in range(proposed.shape[1]):
            own = slot[group[image], group[image]] == s
            first = 1 if own else 0
            size, count = depth - first, 0
            # at least `size` pairs are, exactly, no less similar than this: what is below it cannot enter
            enough = _nth_largest(similarity[r, s], size) - 2.0 * error
            for k in range(proposed.shape[2]):
                j = proposed[r, s, k]
                if j < 0 or similarity[r, s, k] < enough:
                    continue
                d = pair_distance(fixed, features[j])
                # d was cut at 0 for rows a little longer than 1; the search's similarity is cut in the same way
                exact = 1.0 - 0.5 * _UNIT * np.float64(d)
                worst = max(worst, abs(min(np.float64(similarity[r, s, k]), 1.0) - exact))
                if size > 0:
                    count = _insert(found, numbers, count, size, d, names[j])
            if own:  # the image itself comes first, whatever ties with it
                index[row, s, 0], distance[row, s, 0] = names[image], np.float32(0.0)
            for k in range(count):
                index[row, s, first + k], distance[row, s, first + k] = numbers[k], as_float(found[k])
            if size > 0 and floor[r, s] > -np.inf:
                # what was left out is at least this far; the last place must be nearer
                least = 2.0 - 2.0 * (np.float64(floor[r, s]) + error)
                sure = sure and count == size and np.float64(found[size - 1]) * _UNIT < least
        certified[r] = sure
    return worst


def decide(
    images: Images,
    proposals: Proposals,
    rows: NDArray[np.integer[Any]],
    index: IntArray,
    distance: FloatArray,
    *,
    error: float,
    base: int = 0,
) -> tuple[NDArray[np.bool_], float]:
    """Orders what was proposed by exact distance, and says for which rows nothing nearer can be missing.

    Args:
        images: all images.
        proposals: what to choose from.
        rows: which of the proposals' rows to decide, in which order.
        index: written, as of `NeighborLists`, row `name - base` for each image; -1 before.
        distance: written, as of `NeighborLists`; inf before.
        error: bound of the proposing arithmetic on a similarity.
        base: name of the image that has the first of the written rows.

    Returns:
        Which of `rows` are certified, bool; and the largest error of a proposed similarity, which proves a search wrong
        whose error is above its bound.
    """
    certified = np.zeros(len(proposals.images), np.bool_)
    worst = _decide(
        images.features, images.names, images.group, images.slot, rows, proposals.images, proposals.index,
        proposals.similarity, proposals.floor, error, base, index, distance, certified,
    )  # fmt: skip
    return certified[rows], float(worst)


@numba.njit(cache=True, nogil=True)
def _heap_put(found, names, d, j):
    """Puts (d, j) in place of the root of a heap whose root is the farthest pair."""
    size, place = len(found), 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            found[right] > found[child] or (found[right] == found[child] and names[right] > names[child])
        ):
            child = right
        if found[child] < d or (found[child] == d and names[child] < j):
            break
        found[place], names[place] = found[child], names[child]
        place = child
    found[place], names[place] = d, j


@numba.njit(cache=True, nogil=True)
def _search_row(features, names, group, slot, image, index, distance):
    """All pairs of one image, decided one by one."""
    num_slots, depth = index.shape
    fixed = np.empty(features.shape[1], np.int32)
    load_row(features[image], fixed)
    found = np.full((num_slots, depth), FAR, np.int64)
    numbers = np.full((num_slots, depth), np.iinfo(np.int32).max, np.int32)
    for j in range(len(features)):
        s = slot[group[image], group[j]]
        if s < 0:
            continue
        d = np.int64(-1) if j == image else pair_distance(fixed, features[j])
        if d < found[s, 0] or (d == found[s, 0] and names[j] < numbers[s, 0]):
            _heap_put(found[s], numbers[s], d, names[j])
    for s in range(num_slots):
        for place in range(depth - 1, -1, -1):  # the root is the farthest of those left
            d, name = found[s, 0], numbers[s, 0]
            _heap_put(found[s], numbers[s], np.int64(-2), np.int32(-1))
            if d < FAR:
                index[s, place] = name
                distance[s, place] = as_float(max(d, np.int64(0)))


def search_exactly(images: Images, image: int, index: IntArray, distance: FloatArray) -> None:
    """Writes the lists (S, depth) of one image from the exact distances to all others. Cost: N x D."""
    _search_row(images.features, images.names, images.group, images.slot, image, index, distance)
