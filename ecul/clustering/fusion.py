"""The fused encoding: extension over the small range k2, filter over the large range k3."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.presets import Recipe
from ecul.clustering.search.lists import NeighborLists, within_reach
from ecul.clustering.sparse import ONE, SparseRows, fill_rows
from ecul.types import IntArray


@numba.njit(cache=True, nogil=True)
def _mark_range(reach, mark, stamp):
    for s in range(reach.shape[0]):
        for place in range(reach.shape[1]):
            if reach[s, place] >= 0:
                stamp[reach[s, place]] = mark


@numba.njit(cache=True, nogil=True)
def _extend(
    images, row, fused, weight, encoding_ptr, encoding_index, encoding_value, kept, filtered, total,
    stamp, touched, indptr, out, value,
):  # fmt: skip
    """Fuses images[row:] while there is room; returns the row reached. The fusion's rows are those of the images."""
    while row < len(images):
        if filtered:
            _mark_range(kept[row], row, stamp)
        count = 0
        for m in range(fused.shape[1]):
            other = fused[row, m]
            if other < 0:
                continue
            w = np.int64(weight[row, m])
            for entry in range(encoding_ptr[other], encoding_ptr[other + 1]):
                column = encoding_index[entry]
                # what the filter drops is never written
                if filtered and stamp[column] != row:
                    continue
                if total[column] == 0:
                    touched[count] = column
                    count += 1
                total[column] += w * encoding_value[entry]
        chosen = np.sort(touched[:count])
        mass = np.int64(0)
        for column in chosen:
            # a product of two weights has the scale ONE^2; back to ONE, at least 1 so that it stays an entry
            total[column] = max((total[column] + ONE // 2) // ONE, 1)
            mass += total[column]
        first = indptr[row]
        fits = first + count <= len(out)
        for place in range(count):
            entry = total[chosen[place]]
            total[chosen[place]] = 0
            if fits:
                out[first + place] = chosen[place]
                value[first + place] = (entry * ONE + mass // 2) // mass if filtered else entry
        if not fits:
            return row
        indptr[row + 1] = first + count
        row += 1
    return row


@dataclass(frozen=True)
class FusionPattern:
    """Which encodings make up fused ones.

    Attributes:
        index: int32 (R, M), images whose encodings are fused, -1 for none.
        weight: int32 (R, M), how much each counts, in fixed point; each row sums to 1.
    """

    index: IntArray
    weight: IntArray


@numba.njit(cache=True, nogil=True)
def _keep_quota(index, part, num_parts, quota, copies):
    """Drops from each row of (R, S, K) the images of a group beyond the first `quota`; a point's copies stay whole."""
    kept = np.zeros(num_parts, np.int64)
    for r in range(index.shape[0]):
        kept[:] = 0
        for s in range(index.shape[1]):
            for place in range(index.shape[2]):
                other = index[r, s, place]
                if other < 0:
                    break
                if kept[part[other]] >= quota:
                    index[r, s, place] = -1
                else:
                    kept[part[other]] += copies[other]


def fusion_pattern(recipe: Recipe, lists: NeighborLists, images: IntArray) -> FusionPattern:
    """Which encodings make up the fused ones of the given images, and how much each counts.

    Args:
        recipe: its `part` and `side` say how the fused neighbours weigh: all sides of an image weigh the same, so do
            all groups of a side, and all neighbours of a group. A side or group without neighbours is left out.
        lists: the fusion's lists of all images.
        images: int32 (R,).
    """
    index = within_reach(lists.index[images], recipe.fusion_depth, recipe.copies)
    num_parts, num_sides = len(recipe.side), int(recipe.side.max(initial=0)) + 1
    if recipe.quota:
        _keep_quota(index, recipe.part, num_parts, recipe.quota, recipe.copies)
    valid = index >= 0
    part = recipe.part[index]
    copies = recipe.copies[index]
    flat = np.arange(len(index))[:, None, None] * num_parts + part
    counts = np.bincount(flat[valid], weights=copies[valid], minlength=len(index) * num_parts)
    present = counts.reshape(len(index), num_parts) > 0
    parts = np.stack([present[:, recipe.side == side].sum(1) for side in range(num_sides)], axis=1)
    sides = (parts > 0).sum(1)
    share = 1.0 / (np.maximum(counts, 1) * np.maximum(parts[:, recipe.side] * sides[:, None], 1).reshape(-1))
    weight = np.where(valid, np.rint(copies * share[flat] * ONE), 0).astype(np.int32)
    shape = (len(index), index.shape[1] * index.shape[2])
    return FusionPattern(np.where(valid, index, -1).reshape(shape), weight.reshape(shape))


def extend_rows(encoding: SparseRows, lists: NeighborLists, recipe: Recipe, images: IntArray) -> SparseRows:
    """Fused and filtered encodings E of the given images (ECUL, EMCC steps 5 and 6, docs/method.md).

    Args:
        encoding: V of all images.
        lists: the fusion's lists of all images.
        recipe: the preset; its groups say how neighbours weigh, its filter_depth is k3 (0: no filter).
        images: int32 (R,).

    Returns:
        Rows in fixed point (`ONE` is 1), each summing to 1.
    """
    pattern = fusion_pattern(recipe, lists, images)
    kept = within_reach(
        lists.index[images], np.full(lists.index.shape[1], recipe.filter_depth, np.int32), recipe.copies
    )
    num_images = len(encoding)
    total, stamp = np.zeros(num_images, np.int64), np.full(num_images, -1, np.int32)
    touched = np.empty(num_images, np.int32)

    def kernel(row: int, indptr: NDArray[np.int64], index: IntArray, value: IntArray) -> int:
        return _extend(
            images, row, pattern.index, pattern.weight, encoding.indptr, encoding.index, encoding.value,
            kept, recipe.filter_depth > 0, total, stamp, touched, indptr, index, value,
        )  # fmt: skip

    return fill_rows(kernel, len(images), entries_per_row=64, dtype=np.int32)
