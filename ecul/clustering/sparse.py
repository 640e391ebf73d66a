"""Sparse rows, ranges of rows, and the threads that work on them.

Every stage after the search is a compiled kernel that releases the interpreter lock and fills a range of rows, so a
thread, a process and a machine all run the same function on a smaller range, and the parts are concatenated.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ecul.types import IntArray

Part = TypeVar("Part")
Scalar = TypeVar("Scalar", bound=np.generic)
RowKernel = Callable[[int, NDArray[np.int64], IntArray, Any], int]
MIN_ROWS_PER_TASK = 256
TASKS_PER_THREAD = 8
ONE = 2**30
"""What stands for 1 where weights are held in fixed point."""


@dataclass(frozen=True)
class SparseRows:
    """A block of consecutive sparse rows, columns ascending within each.

    Attributes:
        indptr: int64 (R + 1,), where each row begins.
        index: int32 (nnz,), column numbers.
        value: (nnz,), float32 distances, where explicit zeros count as stored, or int32 weights in fixed point.
    """

    indptr: NDArray[np.int64]
    index: IntArray
    value: NDArray[Any]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    def csr(self, num_columns: int) -> sp.csr_array:
        """The same rows as scipy CSR; explicit zeros stay, indices are int32 wherever they fit."""
        indptr = self.indptr.astype(np.int32) if self.indptr[-1] < np.iinfo(np.int32).max else self.indptr
        matrix = sp.csr_array((self.value, self.index, indptr), shape=(len(self), num_columns))
        matrix.has_sorted_indices = True
        return matrix


def concatenate_rows(parts: Sequence[SparseRows]) -> SparseRows:
    """Stacks blocks of rows in the given order."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0] + [part.indptr[-1] for part in parts])
    pointers = [part.indptr[:-1] + start for part, start in zip(parts, starts, strict=False)]
    return SparseRows(
        indptr=np.concatenate([*pointers, starts[-1:]]).astype(np.int64),
        index=np.concatenate([part.index for part in parts]),
        value=np.concatenate([part.value for part in parts]),
    )


def fill_rows(kernel: RowKernel, num_rows: int, *, entries_per_row: int, dtype: Any) -> SparseRows:
    """Runs `kernel` over a range of rows whose number of entries is not known beforehand.

    Args:
        kernel: called with (first row of the range still to do, indptr, index, value); it fills rows until the range
            is done or the next row does not fit, and returns the first row it did not do.
        num_rows: rows in the range.
        entries_per_row: first guess of the room needed; the arrays double when it was too small.
        dtype: of the values.
    """
    indptr = np.zeros(num_rows + 1, np.int64)
    room = max(16, num_rows * entries_per_row)
    index, value = np.empty(room, np.int32), np.empty(room, dtype)
    row = kernel(0, indptr, index, value)
    while row < num_rows:
        room *= 2
        used = int(indptr[row])
        index, value = _grown(index, used, room), _grown(value, used, room)
        row = kernel(row, indptr, index, value)
    used = int(indptr[-1])
    return SparseRows(indptr, index[:used].copy(), value[:used].copy())


@numba.njit(cache=True, nogil=True)
def _first_heavy(indptr, index, value, start, keys):
    for row in range(len(keys)):
        first, last = indptr[start + row], indptr[start + row + 1]
        weight = np.int64(0)
        for entry in range(first, last):
            weight += value[entry]
        for entry in range(first, last):
            if value[entry] * np.int64(last - first) >= weight:
                keys[row] = index[entry]
                break


def first_heavy_columns(rows: SparseRows, start: int, stop: int) -> IntArray:
    """The lowest column of rows start..stop-1 whose weight is at least the row's mean, a key for `map_rows`.

    Images of one person often share it. Strangers, of which a large set has more, weigh less than the mean, so they do
    not set it. An empty row gets 0.

    Args:
        rows: int32 weights.
        start: first row.
        stop: row after the last.
    """
    keys = np.zeros(stop - start, np.int32)
    _first_heavy(rows.indptr, rows.index, rows.value, start, keys)
    return keys


@numba.njit(cache=True, nogil=True)
def _put(indptr, index, value, place, new_ptr, new_index, new_value):
    for row in range(len(place)):
        target = new_ptr[place[row]]
        for entry in range(indptr[row], indptr[row + 1]):
            new_index[target] = index[entry]
            new_value[target] = value[entry]
            target += 1


def put_rows(parts: Sequence[SparseRows], place: NDArray[np.int64]) -> SparseRows:
    """Joins blocks of rows in another order: row r of all becomes row place[r]."""
    lengths = np.empty(len(place), np.int64)
    lengths[place] = np.concatenate([np.diff(part.indptr) for part in parts])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    index, value = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], parts[0].value.dtype)
    first = 0
    for part in parts:
        _put(part.indptr, part.index, part.value, place[first : first + len(part)], indptr, index, value)
        first += len(part)
    return SparseRows(indptr, index, value)


def _grown(array: NDArray[Scalar], used: int, room: int) -> NDArray[Scalar]:
    larger = np.empty(room, array.dtype)
    larger[:used] = array[:used]
    return larger


def default_threads(num_threads: int | None = None) -> int:
    """`num_threads`, or the processors this process may use."""
    if num_threads is not None:
        return max(1, num_threads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def row_ranges(start: int, stop: int, num_threads: int, min_rows: int = MIN_ROWS_PER_TASK) -> list[tuple[int, int]]:
    """Splits a range of rows into tasks: several per thread, so that uneven rows even out, but never tiny ones."""
    step = max(min_rows, -(-(stop - start) // (num_threads * TASKS_PER_THREAD)))
    return [(first, min(first + step, stop)) for first in range(start, stop, step)] or [(start, stop)]


def map_ranges(
    function: Callable[[int, int], Part],
    start: int,
    stop: int,
    *,
    num_threads: int | None = None,
    min_rows: int = MIN_ROWS_PER_TASK,
) -> list[Part]:
    """Results of `function(first, last)` over the pieces of a row range, in row order, on threads."""
    num_threads = default_threads(num_threads)
    ranges = row_ranges(start, stop, num_threads, min_rows)
    if num_threads == 1 or len(ranges) == 1:
        return [function(first, last) for first, last in ranges]
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(lambda piece: function(*piece), ranges))


def map_rows(
    function: Callable[[IntArray], SparseRows],
    key: NDArray[np.integer[Any]],
    start: int,
    *,
    num_threads: int | None = None,
) -> SparseRows:
    """Rows start, start+1, ... of `function(images)`, on threads.

    Images of the same key are visited one after another, since they read the same memory: without that, the time of
    an image grows with N as its neighbours' rows fall out of the caches.

    Args:
        function: returns the rows of the given images (int32), in their order.
        key: one number for every image of the range.
        start: first image of the range.
        num_threads: threads to use; None for all processors.
    """
    order = np.argsort(key, kind="stable")
    images = (start + order).astype(np.int32)
    parts = map_ranges(lambda first, last: function(images[first:last]), 0, len(images), num_threads=num_threads)
    return put_rows(parts, order)


@numba.njit(cache=True, nogil=True)
def _transpose(indptr, index, value, column_ptr, rows, values):
    position = column_ptr[:-1].copy()
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            column = index[entry]
            rows[position[column]] = row
            values[position[column]] = value[entry]
            position[column] += 1


def inverted_index(rows: SparseRows, num_columns: int) -> SparseRows:
    """The transpose: row l lists, ascending, the rows that hold column l, with their values. Linear in the entries."""
    counts = np.bincount(rows.index, minlength=num_columns)
    column_ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    index, value = np.empty(len(rows.index), np.int32), np.empty_like(rows.value)
    _transpose(rows.indptr, rows.index, rows.value, column_ptr, index, value)
    return SparseRows(column_ptr, index, value)
