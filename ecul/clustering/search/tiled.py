"""Proposals by tiles of the similarity matrix: a matrix product, then a compiled pass that enters what is near.

Images are in group order, so a tile falls into rectangles in which all pairs belong to one list of the row's image and
one list of the column's. A whole run of similarities is then compared with the lists' thresholds by vector
instructions, and only the few that pass are looked at one by one. Each tile of a square is computed once: it serves
the images of its rows and those of its columns.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ecul.clustering.search.arithmetic import FLOAT32, Arithmetic
from ecul.clustering.search.exact import Proposals, in_fixed_point
from ecul.clustering.search.heaps import enter_tile
from ecul.clustering.search.lists import NeighborSpec
from ecul.clustering.sparse import default_threads
from ecul.progress import Progress
from ecul.types import FloatArray, IntArray

TILE = 1024
MIN_TILE = 128
TILES_PER_THREAD = 8

Range = tuple[int, int]
Floats = NDArray[np.floating[Any]]
Product = Callable[[Floats, Floats, Floats], Any]
"""`product(rows, columns, out)` writes rows @ columns.T."""


@dataclass(frozen=True)
class _Table:
    """The lists of one spec, of a range of images.

    Attributes:
        group: int32 (N,).
        slot: int32 (G, G).
        similarity: (R, S, K), heaps whose root is the least similar pair; -inf where free.
        index: int32 (R, S, K).
    """

    group: IntArray
    slot: IntArray
    similarity: Floats
    index: IntArray

    @classmethod
    def empty(cls, num_rows: int, spec: NeighborSpec, arithmetic: Arithmetic, dtype: Any) -> "_Table":
        """Free lists of `num_rows` images."""
        shape = (num_rows, spec.num_slots, spec.depth + arithmetic.spare)
        return cls(spec.group, spec.slot, np.full(shape, -np.inf, dtype), np.full(shape, -1, np.int32))

    def proposals(self, images: IntArray) -> Proposals:
        """What the lists of `images` hold; a list that is not full has left nothing out."""
        return Proposals(images, self.index, self.similarity, self.similarity[:, :, 0].copy())


@dataclass(frozen=True)
class _Side:
    """One side of the tiles: its images' features and lists."""

    features: Floats
    images: IntArray
    tables: Sequence[_Table]


class _Tiles:
    """The tiles still to do, handed to threads one by one, and a lock for each block of images whose lists change.

    Which pairs a list holds in the end can depend on the order of tiles only among pairs of equal similarity.
    """

    def __init__(
        self, rows: _Side, columns: _Side, size: int, corners: Iterable[Range], product: Product, *, mirror: bool
    ) -> None:
        self.rows, self.columns, self.size, self.product, self.mirror = rows, columns, size, product, mirror
        todo = list(corners)
        self.progress = Progress("searching neighbours, tiles", total=len(todo))
        self._corners, self._next = iter(todo), threading.Lock()
        self._locks: dict[int, threading.Lock] = {}

    def _take(self) -> Range | None:
        """First row and column of the next tile, None when there is none left."""
        with self._next:
            return next(self._corners, None)

    def _lock(self, image: int) -> threading.Lock:
        with self._next:
            return self._locks.setdefault(image, threading.Lock())

    def work(self) -> None:
        """Does tiles until none is left."""
        dtype = self.rows.features.dtype
        room, least = np.empty(self.size * self.size, dtype), np.empty(self.size, dtype)
        while (corner := self._take()) is not None:
            row, column = corner
            block = self.rows.features[row : row + self.size]
            others = self.columns.features[column : column + self.size]
            tile = room[: len(block) * len(others)].reshape(len(block), len(others))
            self.product(block, others, tile)
            self._enter(tile, row, column, least)
            self.progress.advance()

    def _enter(self, tile: Floats, row: int, column: int, least: Floats) -> None:
        images = self.rows.images[row : row + self.size]
        first_column = int(self.columns.images[column])
        mirror = self.mirror and int(images[0]) != first_column  # a tile on the diagonal holds both orders of a pair
        blocks = {int(images[0]), first_column} if mirror else {int(images[0])}
        with ExitStack() as held:
            for block in sorted(blocks):  # always in the same order, so that no two threads wait for each other
                held.enter_context(self._lock(block))
            for own, other in zip(self.rows.tables, self.columns.tables, strict=True):
                enter_tile(
                    tile, images, row, first_column, column, mirror, own.group, own.slot, own.similarity, own.index,
                    other.similarity, other.index, least,
                )  # fmt: skip


def _multiply(rows: Floats, columns: Floats, out: Floats) -> None:
    np.matmul(rows, columns.T, out=out)


def _tile_size(num_rows: int, threads: int) -> int:
    """Large enough for fast products, small enough that every thread gets several."""
    return max(MIN_TILE, min(TILE, -(-num_rows // (TILES_PER_THREAD * threads))))


def _square(num_images: int, size: int) -> Iterator[Range]:
    """Corners of the tiles on and above the diagonal, diagonal by diagonal: neighbours in time share no rows."""
    for gap in range(0, num_images, size):
        for row in range(0, num_images - gap, size):
            yield row, row + gap


def _rectangle(num_rows: int, num_columns: int, size: int) -> Iterator[Range]:
    """Corners of all tiles, diagonal by diagonal, wrapping around."""
    blocks = range(0, num_columns, size)
    for shift in range(len(blocks)):
        for number, row in enumerate(range(0, num_rows, size)):
            yield row, blocks[(number + shift) % len(blocks)]


def _run(tiles: _Tiles, threads: int) -> None:
    """Works on the tiles with as many threads, each doing its own one-threaded products: none waits for another."""
    with tiles.progress, threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for job in [pool.submit(tiles.work) for _ in range(threads)]:
            job.result()


def propose_blocks(
    features: FloatArray,
    specs: Sequence[NeighborSpec],
    rows: Range,
    columns: Range,
    *,
    arithmetic: Arithmetic = FLOAT32,
    product: Product = _multiply,
    num_threads: int | None = None,
) -> tuple[list[Proposals], list[Proposals]]:
    """Proposals among two blocks of images, for the images of both; each pair of images is multiplied once.

    Args:
        features: float32 (N, D), unit rows of all images, in group order (see `ecul.clustering.search.search`).
        specs: the lists wanted; all come from the same products.
        rows: first image of the one block and one past its last.
        columns: the other block: the same one, or one without a common image.
        arithmetic: what `product` computes in.
        product: writes the similarities of a tile; its error must stay within the arithmetic's bound.
        num_threads: threads to use; None for all processors.

    Returns:
        Proposals of the images of `rows` and of those of `columns`, for each spec; the second list is empty where both
        are the same block.
    """
    threads = default_threads(num_threads)
    sides = [_side(features, specs, block, arithmetic) for block in ({rows: 0, columns: 0})]
    lengths = [len(side.images) for side in sides]
    size = _tile_size(max(lengths), threads)
    corners = _square(lengths[0], size) if rows == columns else _rectangle(lengths[0], lengths[1], size)
    _run(_Tiles(sides[0], sides[-1], size, corners, product, mirror=True), threads)
    proposals = [[table.proposals(side.images) for table in side.tables] for side in sides]
    return proposals[0], proposals[1] if len(proposals) > 1 else []


def _side(features: FloatArray, specs: Sequence[NeighborSpec], block: Range, arithmetic: Arithmetic) -> _Side:
    first, last = block
    tables = [_Table.empty(last - first, spec, arithmetic, features.dtype) for spec in specs]
    return _Side(features[first:last], np.arange(first, last, dtype=np.int32), tables)


def propose_rows(
    features: FloatArray,
    spec: NeighborSpec,
    images: IntArray,
    *,
    arithmetic: Arithmetic,
    dtype: Any,
    num_threads: int | None = None,
) -> Proposals:
    """Proposals of some images against all, in another precision, of features in fixed point.

    Args:
        features: float32 (N, D), unit rows of all images, in group order.
        spec: the lists wanted.
        images: int32 (R,), ascending.
        arithmetic: of products in `dtype`.
        dtype: float32 or float64.
        num_threads: threads to use; None for all processors.
    """
    threads = default_threads(num_threads)
    table = _Table.empty(len(images), spec, arithmetic, dtype)
    size = _tile_size(len(features), threads)

    def product(rows: Floats, columns: Floats, out: Floats) -> None:
        np.matmul(rows, in_fixed_point(columns).astype(dtype).T, out=out)

    rows = _Side(in_fixed_point(features[images]).astype(dtype), images, [table])
    columns = _Side(features, np.arange(len(features), dtype=np.int32), [table])
    corners = _rectangle(len(images), len(features), size)
    _run(_Tiles(rows, columns, size, corners, product, mirror=False), threads)
    return table.proposals(images)
