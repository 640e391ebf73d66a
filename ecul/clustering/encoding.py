"""The k-reciprocal encoding of every image: reciprocal neighbours, their expansion, weights by distance.

Weights are held in fixed point: `ONE` stands for 1. Each is rounded once; all sums of them are sums of integers, which
have no order.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.presets import Recipe
from ecul.clustering.search.exact import as_float, load_row, pair_distance
from ecul.clustering.search.lists import NeighborLists, within_reach
from ecul.clustering.sparse import ONE, SparseRows, concatenate_rows, fill_rows, map_ranges
from ecul.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, inline="never")
def _reciprocal(image, reach, group, slot, out):
    """Writes the neighbours of `image` that have it in their own range; returns how many."""
    count = 0
    for s in range(reach.shape[1]):
        for place in range(reach.shape[2]):
            other = reach[image, s, place]
            if other < 0:
                break
            back = slot[group[other], group[image]]
            for seen in range(reach.shape[2]):
                if reach[other, back, seen] == image:
                    out[count] = other
                    count += 1
                    break
                if reach[other, back, seen] < 0:
                    break
    return count


@numba.njit(cache=True, nogil=True)
def _reciprocal_rows(start, stop, reach, group, slot, indptr, out):
    position = 0
    for image in range(start, stop):
        position += _reciprocal(image, reach, group, slot, out[position:])
        indptr[image - start + 1] = position


@numba.njit(cache=True, nogil=True)
def _expand(members, count, half_ptr, half_index, copies, stamp, base_mark):
    """Adds R(j, h) for each reciprocal j whose R(j, h) lies to more than two thirds in R(i, k1)."""
    base = count
    for place in range(base):
        first, last = half_ptr[members[place]], half_ptr[members[place] + 1]
        common, whole = 0, 0
        for entry in range(first, last):
            whole += copies[half_index[entry]]
            # only R(i, k1) itself counts as common, not what was added for an earlier j
            if stamp[half_index[entry]] == base_mark:
                common += copies[half_index[entry]]
        if 3 * common <= 2 * whole:
            continue
        for entry in range(first, last):
            other = half_index[entry]
            if stamp[other] != base_mark and stamp[other] != base_mark + 1:
                stamp[other] = base_mark + 1
                members[count] = other
                count += 1
    return count


@numba.njit(cache=True, nogil=True)
def weight_of(distance):
    """exp(-distance) in fixed point, for a distance in [0, 4].

    By additions and multiplications alone, which every processor rounds alike; a library's exp is not the same
    everywhere. The Taylor series of exp(-x / 16) to x^10 is exact to 1e-14 here.
    """
    x = -np.float64(distance) / 16.0
    total = 1.0
    for k in range(10, 0, -1):
        total = 1.0 + total * x / k
    for _ in range(4):
        total *= total
    return np.int64(np.rint(total * ONE))


@numba.njit(cache=True, nogil=True)
def _note_listed(index, distance, row, known, listed):
    """Writes down the distances that the search found, so that they are not computed again."""
    for s in range(index.shape[0]):
        for place in range(index.shape[1]):
            other = index[s, place]
            if other < 0:
                break
            known[other] = row
            listed[other] = distance[s, place]


@numba.njit(cache=True, nogil=True)
def _encode(
    images, row, index, distance, reach, group, slot, copies, half_ptr, half_index, features, stamp, known, members,
    listed, weight, fixed, indptr, out, value,
):  # fmt: skip
    """Encodes images[row:] while there is room; returns the row reached. Scratch: `stamp` to `fixed`."""
    while row < len(images):
        image = images[row]
        mark = 2 * row  # two marks a row: in R(i, k1), and added by the expansion
        _note_listed(index[image], distance[image], row, known, listed)
        count = _reciprocal(image, reach, group, slot, members)
        for place in range(count):
            stamp[members[place]] = mark
        if len(half_ptr):
            count = _expand(members, count, half_ptr, half_index, copies, stamp, mark)
        first = indptr[row]
        if first + count > len(out):
            # the row is done again with more room, so its marks must not count as made
            for place in range(count):
                stamp[members[place]] = -1
            return row
        chosen = np.sort(members[:count])
        total = np.int64(0)
        loaded = False
        for place in range(count):
            other = chosen[place]
            if known[other] != row:  # found by the expansion only, so the search did not list it
                if not loaded:
                    load_row(features[image], fixed)
                    loaded = True
                listed[other] = as_float(pair_distance(fixed, features[other]))
            weight[place] = weight_of(listed[other])
            total += weight[place] * copies[other]
        for place in range(count):
            out[first + place] = chosen[place]
            # at least 1: an entry of 0 would not be told from one that is absent
            share = max((weight[place] * ONE + total // 2) // total, 1)
            value[first + place] = share * copies[chosen[place]]
        indptr[row + 1] = first + count
        row += 1
    return row


def half_range(lists: NeighborLists, recipe: Recipe, *, num_threads: int | None = None) -> SparseRows:
    """R(j, h) of all images, which the expansion of every range of rows reads (ECUL, EMCC step 2, docs/method.md).

    Args:
        lists: the encoding's lists of all images.
        recipe: whose groups and encode_slot name the list of j that would hold i.
        num_threads: threads to use; None for all processors.

    Returns:
        Rows in list order without values; empty when the preset has no expansion.
    """
    if not len(recipe.half_depth):
        return SparseRows(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32))
    reach = within_reach(lists.index, recipe.half_depth, recipe.copies)

    def part(first: int, last: int) -> SparseRows:
        indptr = np.zeros(last - first + 1, np.int64)
        out = np.empty((last - first) * reach.shape[1] * reach.shape[2], np.int32)
        _reciprocal_rows(first, last, reach, recipe.spec.group, recipe.encode_slot, indptr, out)
        return SparseRows(indptr, out[: indptr[-1]].copy(), np.empty(0, np.int32))

    return concatenate_rows(map_ranges(part, 0, len(lists), num_threads=num_threads))


@dataclass(frozen=True)
class EncodingInputs:
    """What the encoding of every image reads.

    Attributes:
        lists: the encoding's lists of all images: those searched, or their merger.
        reach: int32 (N, S, k1), the part of the lists within k1.
        half: `half_range` of all images.
    """

    lists: NeighborLists
    reach: IntArray
    half: SparseRows


def encode_rows(features: FloatArray, inputs: EncodingInputs, recipe: Recipe, images: IntArray) -> SparseRows:
    """Encoding vectors V of the given images (ECUL, EMCC steps 2 to 4, docs/method.md).

    Args:
        features: float32 (N, D), unit rows; read only for the few pairs that the expansion adds unlisted.
        inputs: of all images.
        recipe: the preset.
        images: int32 (R,).

    Returns:
        Rows in fixed point (`ONE` is 1), each summing to 1.
    """
    num_images, dim = features.shape
    stamp, known = np.full(num_images, -1, np.int32), np.full(num_images, -1, np.int32)
    members, listed = np.empty(num_images, np.int32), np.empty(num_images, np.float32)
    weight, fixed = np.empty(num_images, np.int64), np.empty(dim, np.int32)
    group, slot, copies = recipe.spec.group, recipe.encode_slot, recipe.copies
    lists, half = inputs.lists, inputs.half

    def kernel(row: int, indptr: NDArray[np.int64], index: IntArray, value: IntArray) -> int:
        return _encode(
            images, row, lists.index, lists.distance, inputs.reach, group, slot, copies, half.indptr, half.index,
            features, stamp, known, members, listed, weight, fixed, indptr, index, value,
        )  # fmt: skip

    return fill_rows(kernel, len(images), entries_per_row=int(recipe.full_depth.sum()), dtype=np.int32)
