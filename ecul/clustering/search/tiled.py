"""Exact search by tiles of the similarity matrix: a matrix product, then a compiled update of the running lists.

All tiles have one shape (the last ones are padded with zeros), so that a pair's distance has the same bits whichever
tile, range of rows or side of the diagonal it is computed in.
"""

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
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
def _update(similarity, first_row, num_rows, first_column, num_columns, offset, group, slot, distance, index):
    """Enters the tile's pairs into the heaps of its rows; row r is image first_row + r."""
    depth = distance.shape[2]
    for r in range(num_rows):
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


class _Tiles:
    """The tiles still to do, handed to threads one by one, and a lock for each block of images whose lists change.

    What a list holds in the end does not depend on the order in which pairs are entered, so neither do the results.
    """

    def __init__(self, features: FloatArray, tables: Tables, start: int, stop: int, corners: Iterable[tuple[int, int]]):
        self.features, self.tables, self.start, self.stop = features, tables, start, stop
        self.size = _tile_size(len(features))
        self._corners = iter(corners)
        self._next = threading.Lock()
        self._blocks: dict[int, threading.Lock] = {}

    def take(self) -> tuple[int, int] | None:
        """First row and column of the next tile, None when there is none left."""
        with self._next:
            return next(self._corners, None)

    def enter(self, tile: FloatArray, row: int, column: int) -> None:
        """Enters a tile's pairs into the lists of its rows."""
        rows, columns = min(self.size, self.stop - row), min(self.size, len(self.features) - column)
        with self._next:
            block = self._blocks.setdefault(row, threading.Lock())
        with block:
            for group, slot, distance, index in self.tables:
                _update(tile, row, rows, column, columns, self.start, group, slot, distance, index)

    def work(self, mirror: bool) -> None:
        """Does tiles until none is left; with `mirror` each also serves, transposed, the images of its columns."""
        size, held = self.size, -1
        tile, other = np.empty((size, size), np.float32), np.empty((size if mirror else 0, size), np.float32)
        block = other
        while (corner := self.take()) is not None:
            row, column = corner
            if row != held:
                block, held = _padded(self.features, row, size), row
            np.matmul(block, _columns(self.features, column, size).T, out=tile)
            self.enter(tile, row, column)
            if mirror and column > row:
                np.copyto(other, tile.T)
                self.enter(other, column, row)


def _run(tiles: _Tiles, mirror: bool, num_threads: int | None) -> None:
    """Works on the tiles with as many threads, each doing its own one-threaded products: none waits for another."""
    threads = default_threads(num_threads)
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for job in [pool.submit(tiles.work, mirror) for _ in range(threads)]:
            job.result()


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
    size = _tile_size(len(features))
    corners = ((row, column) for row in range(start, stop, size) for column in range(0, len(features), size))
    _run(_Tiles(features, tables, start, stop, corners), False, num_threads)


def search_square(features: FloatArray, tables: Tables, *, num_threads: int | None = None) -> None:
    """Fills the lists of all images, computing each pair of tiles once: the transposed tile serves the other side."""
    num_images, size = len(features), _tile_size(len(features))
    corners = ((row, column) for row in range(0, num_images, size) for column in range(row, num_images, size))
    _run(_Tiles(features, tables, 0, num_images, corners), True, num_threads)
