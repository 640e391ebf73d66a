"""Jaccard distances no larger than eps, as sparse rows: a sum of minima over the inverted index."""

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.sparse import ONE, SparseRows, fill_rows
from ecul.types import FloatArray, IntArray

_LONG_LIST = 3
"""A column is postponed if it is held by more than so many times the average number of images, and at least so many:"""
_SHORTEST_LONG_LIST = 64


@numba.njit(cache=True, nogil=True)
def overlaps(image, indptr, index, value, column_ptr, column_rows, column_value, longest, total, touched):
    """Adds sum over l of min(E_il, E_jl) to total[j] for every j that shares an entry; returns how many j.

    Columns that more than `longest` images hold are left out.
    """
    count = 0
    for entry in range(indptr[image], indptr[image + 1]):
        v = value[entry]
        first, last = column_ptr[index[entry]], column_ptr[index[entry] + 1]
        if last - first > longest:
            continue
        for place in range(first, last):
            other = column_rows[place]
            if total[other] == 0:
                touched[count] = other
                count += 1
            total[other] += min(v, column_value[place])
    return count


@numba.njit(cache=True, nogil=True, inline="always")
def jaccard_distance(overlap):
    """J = 1 - S / (2 - S) of an overlap S in fixed point, at least 0; one division, rounded once."""
    shared = min(np.float64(overlap), np.float64(ONE))
    return np.float32((2.0 * ONE - 2.0 * shared) / (2.0 * ONE - shared))


@numba.njit(cache=True, nogil=True)
def least_overlap(limit):
    """Smallest overlap S, in fixed point, whose distance is at most `limit`; the distance falls as S grows."""
    low, high = 0, ONE
    while low < high:
        middle = (low + high) // 2
        if jaccard_distance(middle) <= limit:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(cache=True, nogil=True)
def _value_at(column, first, last, index, value):
    """Value of a column in a row, 0 where the row does not hold it."""
    end = last
    while first < last:
        middle = (first + last) // 2
        if index[middle] < column:
            first = middle + 1
        else:
            last = middle
    return value[first] if first < end and index[first] == column else np.int32(0)


@numba.njit(cache=True, nogil=True)
def _near(
    image, indptr, index, value, column_ptr, column_rows, column_value, long_list, least, total, touched, long_entries
):
    """Overlaps, in `total`, with every image that may share at least `least`; returns how many are in `touched`.

    A column that very many images hold costs most and tells least. Where all such columns of the image together weigh
    less than `least`, an image that shares only these is too far, so they are looked up for the others alone.
    """
    weight, num_long = np.int64(0), 0
    for entry in range(indptr[image], indptr[image + 1]):
        if column_ptr[index[entry] + 1] - column_ptr[index[entry]] > long_list:
            weight += value[entry]
            long_entries[num_long] = entry
            num_long += 1
    # with at least one short column left, through which the image finds itself
    postponed = weight < least and 0 < num_long < indptr[image + 1] - indptr[image]
    longest = long_list if postponed else len(column_rows)
    count = overlaps(image, indptr, index, value, column_ptr, column_rows, column_value, longest, total, touched)
    if not postponed:
        return count
    possible = 0
    for place in range(count):
        other = touched[place]
        if total[other] + weight < least and other != image:
            total[other] = 0
            continue
        touched[possible] = other
        possible += 1
        for entry in long_entries[:num_long]:
            shared = _value_at(index[entry], indptr[other], indptr[other + 1], index, value)
            total[other] += min(value[entry], shared)
    return possible


@numba.njit(cache=True, nogil=True)
def _jaccard(
    images, row, indptr, index, value, column_ptr, column_rows, column_value, eps, long_list, total, touched,
    long_entries, out_ptr, out, out_value,
):  # fmt: skip
    """Rows of images[row:] while there is room; returns the row reached."""
    least = least_overlap(eps)
    while row < len(images):
        image = images[row]
        count = _near(
            image, indptr, index, value, column_ptr, column_rows, column_value, long_list, least, total, touched,
            long_entries,
        )  # fmt: skip
        kept = 0
        for place in range(count):
            other = touched[place]
            if other == image or jaccard_distance(total[other]) <= eps:
                touched[kept] = other
                kept += 1
            else:
                total[other] = 0
        chosen = np.sort(touched[:kept])
        first = out_ptr[row]
        fits = first + kept <= len(out)
        for place in range(kept):
            other = chosen[place]
            overlap = total[other]
            total[other] = 0
            if fits:
                out[first + place] = other
                out_value[first + place] = np.float32(0.0) if other == image else jaccard_distance(overlap)
        if not fits:
            return row
        out_ptr[row + 1] = first + kept
        row += 1
    return row


def jaccard_rows(fused: SparseRows, inverted: SparseRows, eps: float, images: IntArray) -> SparseRows:
    """Jaccard distances J <= eps of the given images (ECUL, EMCC step 7, docs/method.md).

    The diagonal and all other zeros are stored; what is not stored is farther than eps. J_ij and J_ji have the same
    bits. Cost: for every entry of the rows, the images that share its column; columns that are held by many times the
    average number of images are mostly left out of that.

    Args:
        fused: E of all images.
        inverted: its `inverted_index`.
        eps: largest distance kept, in [0, 1).
        images: int32 (R,).
    """
    num_images = len(fused)
    total, touched = np.zeros(num_images, np.int32), np.empty(num_images, np.int32)
    long_entries = np.empty(int(np.diff(fused.indptr).max(initial=0)), np.int64)
    limit = np.float32(eps)
    long_list = max(_SHORTEST_LONG_LIST, _LONG_LIST * len(fused.index) // max(num_images, 1))

    def kernel(row: int, indptr: NDArray[np.int64], index: IntArray, value: FloatArray) -> int:
        return _jaccard(
            images, row, fused.indptr, fused.index, fused.value, inverted.indptr, inverted.index, inverted.value,
            limit, long_list, total, touched, long_entries, indptr, index, value,
        )  # fmt: skip

    return fill_rows(kernel, len(images), entries_per_row=32, dtype=np.float32)


@numba.njit(cache=True, nogil=True)
def _pairs(pairs, indptr, index, value, out):
    for p in range(len(pairs)):
        a, a_end = indptr[pairs[p, 0]], indptr[pairs[p, 0] + 1]
        b, b_end = indptr[pairs[p, 1]], indptr[pairs[p, 1] + 1]
        overlap = np.int32(0)
        while a < a_end and b < b_end:
            if index[a] == index[b]:
                overlap += min(value[a], value[b])
                a += 1
                b += 1
            elif index[a] < index[b]:
                a += 1
            else:
                b += 1
        out[p] = jaccard_distance(overlap)


def pair_jaccard(fused: SparseRows, pairs: IntArray) -> FloatArray:
    """Jaccard distance of each of the given pairs (P, 2), however far; the bits that `jaccard_rows` gives."""
    out = np.empty(len(pairs), np.float32)
    _pairs(pairs, fused.indptr, fused.index, fused.value, out)
    return out
