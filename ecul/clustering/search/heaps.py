"""Compiled kernels that enter a tile of similarities into the lists of its images.

A list is a heap of a fixed number of pairs whose root is the least similar one: what is no more similar than the root
cannot enter.
"""

import numba
import numpy as np

RUN = 32
"""Similarities compared at once before any is looked at; one cache line is 16."""


@numba.njit(cache=True, nogil=True)
def _put(similarity, index, row, slot, s, j):
    """Puts the pair (s, j) in place of the root of a heap whose root is its least similar pair.

    Whole arrays and places in them, since a view would be counted in and out by atomic operations at each call.
    """
    size, place = similarity.shape[2], 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and similarity[row, slot, child + 1] < similarity[row, slot, child]:
            child += 1
        if similarity[row, slot, child] >= s:
            break
        similarity[row, slot, place], index[row, slot, place] = similarity[row, slot, child], index[row, slot, child]
        place = child
    similarity[row, slot, place], index[row, slot, place] = s, j


@numba.njit(cache=True, nogil=True)
def _enter_rectangle(
    tile, rows, columns, images, row_place, first_column, column_place, a, b, row_similarity, row_index,
    column_similarity, column_index, least,
):  # fmt: skip
    """Enters the pairs of rows x columns of the tile into list a of the rows' images and list b of the columns'."""
    # a list that does not exist takes nothing: its threshold is above every similarity
    never = np.full(1, np.inf, tile.dtype)[0]
    for c in range(columns[0], columns[1]):
        least[c] = column_similarity[column_place + c, b, 0] if b >= 0 else never
    for r in range(rows[0], rows[1]):
        image, place = images[r], row_place + r
        own = row_similarity[place, a, 0] if a >= 0 else never
        run = tile[r]
        for first in range(columns[0], columns[1], RUN):
            last = min(first + RUN, columns[1])
            # the compiler makes vectors of this: no branch, a 32-bit sum, and indices that cannot be negative
            passing = np.int32(0)
            for c in range(np.uint64(first), np.uint64(last)):
                passing = np.int32(passing + np.int32((run[c] > own) | (run[c] > least[c])))
            if passing == 0:
                continue
            for c in range(first, last):
                s, other = run[c], first_column + c
                if other == image:
                    continue
                if s > own:
                    _put(row_similarity, row_index, place, a, s, other)
                    own = row_similarity[place, a, 0]
                if s > least[c]:
                    _put(column_similarity, column_index, column_place + c, b, s, image)
                    least[c] = column_similarity[column_place + c, b, 0]


@numba.njit(cache=True, nogil=True)
def enter_tile(
    tile, images, row_place, first_column, column_place, mirror, group, slot, row_similarity, row_index,
    column_similarity, column_index, least,
):  # fmt: skip
    """Enters a tile rectangle by rectangle; in each, all rows have one group and so have all columns.

    Args:
        tile: (R, C), similarities.
        images: int32 (R,), the images of the rows.
        row_place: place of the first row in the rows' lists.
        first_column: image of the first column; the others follow it.
        column_place: place of the first column in the columns' lists.
        mirror: whether the tile also serves the images of its columns.
        group: int32 (N,), as of `NeighborSpec`.
        slot: int32 (G, G), as of `NeighborSpec`.
        row_similarity: (R', S, K), heaps of the rows' images, changed in place.
        row_index: int32 (R', S, K), likewise.
        column_similarity: (C', S, K), heaps of the columns' images, changed in place.
        column_index: int32 (C', S, K), likewise.
        least: (C,), scratch of the tile's type.
    """
    row = 0
    while row < tile.shape[0]:
        row_group, row_end = group[images[row]], row + 1
        while row_end < tile.shape[0] and group[images[row_end]] == row_group:
            row_end += 1
        column = 0
        while column < tile.shape[1]:
            column_group, column_end = group[first_column + column], column + 1
            while column_end < tile.shape[1] and group[first_column + column_end] == column_group:
                column_end += 1
            a = slot[row_group, column_group]
            b = slot[column_group, row_group] if mirror else np.int32(-1)
            if a >= 0 or b >= 0:
                _enter_rectangle(
                    tile, (row, row_end), (column, column_end), images, row_place, first_column, column_place, a, b,
                    row_similarity, row_index, column_similarity, column_index, least,
                )  # fmt: skip
            column = column_end
        row = row_end
