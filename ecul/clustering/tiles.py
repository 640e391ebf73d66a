"""Exact search by tiles of the similarity matrix: a matrix product, then a compiled update of the running lists.

All tiles have one shape (the last ones are padded with zeros), so that a pair's distance has the same bits whichever
tile, range of rows or side of the diagonal it is computed in.
"""

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ecul.clustering.sparse import default_threads, map_ranges
from ecul.types import FloatArray, IntArray

TILE = 1024
SMALL_TILE = 256
Tables = Sequence[tuple[IntArray, IntArray, FloatArray, IntArray]]


@numba.njit(cache=True, nogil=True)
def _farther(d, column, other_d, other_column):
    """Whether (d, column) comes after the other pair in the order of neighbours."""
    return d > other_d or (d == other_d and column > other_column)


@numba.njit(cache=True, nogil=True)
def _sift(lists, indices, size, d, column):
    """Puts (d, column) in place of the root of a heap whose root is its farthest neighbour."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _farther(lists[child + 1], indices[child + 1], lists[child], indices[child]):
            child += 1
        if not _farther(lists[child], indices[child], d, column):
            break
        lists[place], indices[place] = lists[child], indices[child]
        place = child
    lists[place], indices[place] = d, column


@numba.njit(cache=True, nogil=True)
def _update(similarity, first_row, num_rows, first_column, num_columns, offset, group, slot, distance, index, lo, hi):
    """Enters the tile's pairs into the heaps of tile rows lo..hi-1; row r is image first_row + r."""
    depth = distance.shape[2]
    for r in range(lo, min(hi, num_rows)):
        image = first_row + r
        lists, indices = distance[image - offset], index[image - offset]
        slots = slot[group[image]]
        for c in range(num_columns):
            column = first_column + c
            s = slots[group[column]]
            if s < 0:
                continue
            d = max(np.float32(2.0) - np.float32(2.0) * similarity[r, c], np.float32(0.0))
            if column == image:
                d = np.float32(-1.0)
            if d <= lists[s, 0] and _farther(lists[s, 0], indices[s, 0], d, column):
                _sift(lists[s], indices[s], depth, d, column)


@numba.njit(cache=True, nogil=True)
def _finish(distance, index, lo, hi):
    """Sorts the heaps of rows lo..hi-1, gives the image itself distance 0, marks empty places with index -1."""
    for r in range(lo, hi):
        for s in range(distance.shape[1]):
            lists, indices = distance[r, s], index[r, s]
            for size in range(len(lists) - 1, 0, -1):
                d, column = lists[size], indices[size]
                lists[size], indices[size] = lists[0], indices[0]
                _sift(lists, indices, size, d, column)
            for place in range(len(lists)):
                lists[place] = max(lists[place], np.float32(0.0))
                if np.isinf(lists[place]):
                    indices[place] = -1


def finish_lists(distance: FloatArray, index: IntArray, *, num_threads: int | None = None) -> None:
    """Turns the heaps that the tiles were entered into, into lists with the nearest first, in place."""
    map_ranges(lambda lo, hi: _finish(distance, index, lo, hi), 0, len(distance), num_threads=num_threads)


def _tile_size(num_images: int) -> int:
    return min(TILE, -(-num_images // SMALL_TILE) * SMALL_TILE)


def _padded(features: FloatArray, first: int, size: int) -> FloatArray:
    """Rows first..first+size-1 as a copy, zeros after the last image."""
    block = np.zeros((size, features.shape[1]), np.float32)
    rows = features[first : first + size]
    block[: len(rows)] = rows
    return block


def _columns(features: FloatArray, first: int, size: int) -> FloatArray:
    return features[first : first + size] if first + size <= len(features) else _padded(features, first, size)


def _enter(tile: FloatArray, row: int, rows: int, column: int, columns: int, offset: int, tables: Tables, threads: int):
    """Updates all tables with one tile, its rows spread over threads."""

    def update(lo: int, hi: int) -> None:
        for group, slot, distance, index in tables:
            _update(tile, row, rows, column, columns, offset, group, slot, distance, index, lo, hi)

    map_ranges(update, 0, rows, num_threads=threads)


def search_tiles(
    features: FloatArray, tables: Tables, start: int, stop: int, *, num_threads: int | None = None
) -> None:
    """Fills the lists of images start..stop-1 against all images, in place.

    Args:
        features: float32 (N, D), unit rows.
        tables: (group, slot, distance, index) of each spec; the arrays' first row is image `start`.
        start: first image.
        stop: one past the last image.
        num_threads: threads to use; None for all processors.
    """
    threads, size, num_images = default_threads(num_threads), _tile_size(len(features)), len(features)
    tile = np.empty((size, size), np.float32)
    with threadpool_limits(threads, user_api="blas"):
        for row in range(start, stop, size):
            block = _padded(features, row, size)
            for column in range(0, num_images, size):
                np.matmul(block, _columns(features, column, size).T, out=tile)
                rows, columns = min(size, stop - row), min(size, num_images - column)
                _enter(tile, row, rows, column, columns, start, tables, threads)


def search_square(features: FloatArray, tables: Tables, *, num_threads: int | None = None) -> None:
    """Fills the lists of all images, computing each pair of tiles once: the transposed tile serves the other side."""
    threads, size, num_images = default_threads(num_threads), _tile_size(len(features)), len(features)
    tile: NDArray[np.float32] = np.empty((size, size), np.float32)
    other = np.empty_like(tile)
    with threadpool_limits(threads, user_api="blas"):
        for row in range(0, num_images, size):
            block = _padded(features, row, size)
            for column in range(row, num_images, size):
                np.matmul(block, _columns(features, column, size).T, out=tile)
                rows, columns = min(size, num_images - row), min(size, num_images - column)
                _enter(tile, row, rows, column, columns, 0, tables, threads)
                if column > row:
                    np.copyto(other, tile.T)
                    _enter(other, column, columns, row, rows, 0, tables, threads)
