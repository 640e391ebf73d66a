"""The k-reciprocal encoding of every image: reciprocal neighbours, recall, weights by distance."""

import math

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.presets import Recipe
from ecul.clustering.search.lists import NeighborLists
from ecul.clustering.sparse import SparseRows, concatenate_rows, fill_rows, map_ranges
from ecul.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True, inline="never")
def _reciprocal(image, index, depth, group, slot, out):
    """Writes the neighbours of `image` that have it in their own range; returns how many."""
    count = 0
    for s in range(len(depth)):
        for place in range(min(depth[s], index.shape[2])):
            other = index[image, s, place]
            if other < 0:
                break
            back = slot[group[other], group[image]]
            for seen in range(min(depth[back], index.shape[2])):
                if index[other, back, seen] == image:
                    out[count] = other
                    count += 1
                    break
    return count


@numba.njit(cache=True, nogil=True)
def _reciprocal_rows(start, stop, index, depth, group, slot, indptr, out):
    position = 0
    for image in range(start, stop):
        position += _reciprocal(image, index, depth, group, slot, out[position:])
        indptr[image - start + 1] = position


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _pair_distance(features, i, j):
    """2 - 2 cos of a pair that the search did not list."""
    total = np.float32(0.0)
    for d in range(features.shape[1]):
        total += features[i, d] * features[j, d]
    return max(np.float32(2.0) - np.float32(2.0) * total, np.float32(0.0))


@numba.njit(cache=True, nogil=True)
def _recall(members, count, half_ptr, half_index, stamp, base_mark):
    """Adds R(j, h) for each reciprocal j whose R(j, h) lies to more than two thirds in R(i, k1)."""
    base = count
    for place in range(base):
        first, last = half_ptr[members[place]], half_ptr[members[place] + 1]
        common = 0
        for entry in range(first, last):
            if stamp[half_index[entry]] == base_mark:
                common += 1
        if 3 * common <= 2 * (last - first):
            continue
        for entry in range(first, last):
            other = half_index[entry]
            if stamp[other] != base_mark and stamp[other] != base_mark + 1:
                stamp[other] = base_mark + 1
                members[count] = other
                count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _encode(
    images, row, index, distance, depth, group, slot, half_ptr, half_index, features, scratch, indptr, out, value
):
    """Encodes images[row:] while there is room; returns the row reached. Scratch rows: see encode_rows."""
    stamp, known, members = scratch[0], scratch[1], scratch[2]
    listed = scratch[3].view(np.float32)
    while row < len(images):
        image = images[row]
        mark = 2 * row
        for s in range(index.shape[1]):
            for place in range(index.shape[2]):
                other = index[image, s, place]
                if other < 0:
                    break
                known[other] = row
                listed[other] = distance[image, s, place]
        count = _reciprocal(image, index, depth, group, slot, members)
        for place in range(count):
            stamp[members[place]] = mark
        if len(half_ptr):
            count = _recall(members, count, half_ptr, half_index, stamp, mark)
        first = indptr[row]
        if first + count > len(out):
            for place in range(count):
                stamp[members[place]] = -1
            return row
        chosen = np.sort(members[:count])
        total = 0.0
        for place in range(count):
            other = chosen[place]
            if known[other] != row:
                listed[other] = _pair_distance(features, image, other)
            total += math.exp(-listed[other])
        for place in range(count):
            out[first + place] = chosen[place]
            value[first + place] = math.exp(-listed[chosen[place]]) / total
        indptr[row + 1] = first + count
        row += 1
    return row


def reciprocal_rows(lists: NeighborLists, recipe: Recipe, depth: IntArray, start: int, stop: int) -> SparseRows:
    """Group-aware reciprocal neighbours R(i, k) of images start..stop-1 (ECUL, EMCC step 1, docs/method.md).

    Args:
        lists: the encoding's lists of all images.
        recipe: whose groups and encode_slot name the list of j that would hold i.
        depth: int32 (S,), k in each list.
        start: first image.
        stop: one past the last image.

    Returns:
        Rows in list order; the values are unused and empty.
    """
    indptr = np.zeros(stop - start + 1, np.int64)
    out = np.empty((stop - start) * int(depth.sum()), np.int32)
    _reciprocal_rows(start, stop, lists.index, depth, recipe.spec.group, recipe.encode_slot, indptr, out)
    return SparseRows(indptr, out[: indptr[-1]].copy(), np.empty(0, np.float32))


def half_range(lists: NeighborLists, recipe: Recipe, *, num_threads: int | None = None) -> SparseRows:
    """R(j, h) of all images, which the recall of every range of rows reads. Empty when the preset has no recall."""
    if not len(recipe.half_depth):
        return SparseRows(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    def part(first: int, last: int) -> SparseRows:
        return reciprocal_rows(lists, recipe, recipe.half_depth, first, last)

    return concatenate_rows(map_ranges(part, 0, len(lists), num_threads=num_threads))


def encode_rows(
    features: FloatArray, lists: NeighborLists, half: SparseRows, recipe: Recipe, images: IntArray
) -> SparseRows:
    """Encoding vectors V of the given images (ECUL, EMCC steps 1 to 3, docs/method.md).

    Args:
        features: float32 (N, D), unit rows; read only for the few recalled pairs that the search did not list.
        lists: the encoding's lists of all images.
        half: `half_range` of all images.
        recipe: the preset.
        images: int32 (R,).
    """
    num_images = len(lists)
    scratch = np.full((4, num_images), -1, np.int32)  # mark, row whose distance is known, members, distance bits
    group, slot, depth = recipe.spec.group, recipe.encode_slot, recipe.full_depth

    def kernel(row: int, indptr: NDArray[np.int64], index: IntArray, value: FloatArray) -> int:
        return _encode(
            images, row, lists.index, lists.distance, depth, group, slot, half.indptr, half.index, features,
            scratch, indptr, index, value,
        )  # fmt: skip

    return fill_rows(kernel, len(images), entries_per_row=int(depth.sum()))
