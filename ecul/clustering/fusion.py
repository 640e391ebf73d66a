"""The fused encoding: extension over the small range k2, filter over the large range k3."""

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.presets import Recipe, fusion_pattern
from ecul.clustering.search.lists import NeighborLists
from ecul.clustering.sparse import SparseRows, fill_rows
from ecul.types import FloatArray, IntArray


@numba.njit(cache=True, nogil=True)
def _mark_range(lists, depth, mark, stamp):
    for s in range(lists.shape[0]):
        for place in range(min(depth, lists.shape[1])):
            if lists[s, place] >= 0:
                stamp[lists[s, place]] = mark


@numba.njit(cache=True, nogil=True)
def _mass(total, chosen):
    mass = 0.0
    for column in chosen:
        mass += total[column]
    return mass


@numba.njit(cache=True, nogil=True)
def _extend(
    images, row, fused, weight, encoding_ptr, encoding_index, encoding_value, filter_index, filter_depth, total,
    stamp, touched, indptr, out, value,
):  # fmt: skip
    """Fuses images[row:] while there is room; returns the row reached. The fusion's rows are those of the images."""
    while row < len(images):
        image = images[row]
        if filter_depth > 0:
            _mark_range(filter_index[image], filter_depth, row, stamp)
        count = 0
        for m in range(fused.shape[2]):
            other = fused[row, 0, m]
            if other < 0:
                continue
            w = weight[row, 0, m]
            for entry in range(encoding_ptr[other], encoding_ptr[other + 1]):
                column = encoding_index[entry]
                if filter_depth > 0 and stamp[column] != row:
                    continue
                if total[column] == 0:
                    touched[count] = column
                    count += 1
                total[column] += w * encoding_value[entry]
        chosen = np.sort(touched[:count])
        first = indptr[row]
        fits = first + count <= len(out)
        scale = 1.0 / _mass(total, chosen) if filter_depth > 0 else 1.0
        for place in range(count):
            if fits:
                out[first + place] = chosen[place]
                value[first + place] = total[chosen[place]] * scale
            total[chosen[place]] = 0
        if not fits:
            return row
        indptr[row + 1] = first + count
        row += 1
    return row


def extend_rows(encoding: SparseRows, lists: NeighborLists, recipe: Recipe, images: IntArray) -> SparseRows:
    """Fused and filtered encodings E of the given images (ECUL, EMCC steps 4 and 5, docs/method.md).

    Args:
        encoding: V of all images.
        lists: the searched lists of all images.
        recipe: the preset; its fusion says how neighbours weigh, its filter_depth is k3 (0: no filter).
        images: int32 (R,).
    """
    pattern = fusion_pattern(recipe, lists, images)
    num_images = len(encoding)
    total, stamp = np.zeros(num_images, np.float32), np.full(num_images, -1, np.int32)
    touched = np.empty(num_images, np.int32)

    def kernel(row: int, indptr: NDArray[np.int64], index: IntArray, value: FloatArray) -> int:
        return _extend(
            images, row, pattern.index, pattern.distance, encoding.indptr, encoding.index, encoding.value,
            lists.index, recipe.filter_depth, total, stamp, touched, indptr, index, value,
        )  # fmt: skip

    return fill_rows(kernel, len(images), entries_per_row=64)
