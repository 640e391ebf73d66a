"""Neighbour lists by faiss: the flat index on CPU or GPU, and the approximate indexes for large N."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.clustering.search.lists import NeighborLists, NeighborSpec
from ecul.types import FloatArray, IntArray

SPARE = 8
HNSW_LINKS = 24
HNSW_EFFORT = 96
PROBES = 32
POINTS_PER_CELL = 128
MIN_CELLS = 4
TRAINING_POINTS_PER_CELL = 64


def search_faiss(
    features: FloatArray, spec: NeighborSpec, *, index: str, num_threads: int | None = None, seed: int = 0
) -> NeighborLists:
    """Lists of all images, by (distance, index), the image itself first; exact when `index` is `flat`.

    One faiss index is built for every set of groups that some image keeps one list of. With more equal distances at a
    list's end than its few spare places, faiss itself decides which of them stay.

    Args:
        features: float32 (N, D), unit rows.
        spec: the lists wanted.
        index: `flat`, `ivf` or `hnsw`.
        num_threads: threads to use; None for all processors.
        seed: of the training of `ivf`.

    Raises:
        ValueError: faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError(f"index {index!r} needs faiss, which is not installed; use index flat") from error
    shape = (len(features), spec.num_slots, spec.depth)
    lists = NeighborLists(np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32))
    with _threads(faiss, num_threads):
        for columns, queries in _target_sets(spec):
            built = _build(faiss, features[columns], index, seed)
            for number, rows in queries:
                _fill(lists, features, built, columns, rows, number)
    return lists


@contextlib.contextmanager
def _threads(faiss: Any, num_threads: int | None) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(num_threads or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _target_sets(spec: NeighborSpec) -> list[tuple[IntArray, list[tuple[int, IntArray]]]]:
    """Each distinct set of images searched, with the (list number, images asking) that search it."""
    wanted: dict[bytes, list[tuple[int, int]]] = {}
    for group in range(len(spec.slot)):
        for number in range(spec.num_slots):
            groups = np.flatnonzero(spec.slot[group] == number)
            if len(groups):
                wanted.setdefault(groups.tobytes(), []).append((number, group))
    sets: list[tuple[IntArray, list[tuple[int, IntArray]]]] = []
    for code, askers in wanted.items():
        columns = np.flatnonzero(np.isin(spec.group, np.frombuffer(code, np.intp))).astype(np.int32)
        by_number: dict[int, list[int]] = {}
        for number, group in askers:
            by_number.setdefault(number, []).append(group)
        queries = [
            (number, np.flatnonzero(np.isin(spec.group, groups)).astype(np.int32))
            for number, groups in by_number.items()
        ]
        if len(columns):
            sets.append((columns, queries))
    return sets


def _build(faiss: Any, points: FloatArray, index: str, seed: int) -> Any:
    dim, metric = points.shape[1], faiss.METRIC_INNER_PRODUCT
    if index == "hnsw":
        built = faiss.IndexHNSWFlat(dim, HNSW_LINKS, metric)
        built.hnsw.efConstruction = built.hnsw.efSearch = HNSW_EFFORT
    elif index == "ivf" and len(points) >= MIN_CELLS * POINTS_PER_CELL:
        cells = len(points) // POINTS_PER_CELL
        built = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, metric)
        built.nprobe, built.cp.seed, built.cp.max_points_per_centroid = (
            min(PROBES, cells),
            seed,
            TRAINING_POINTS_PER_CELL,
        )
        built.cp.min_points_per_centroid = 1
        built.train(points)
    else:
        built = faiss.IndexFlatIP(dim)
    if faiss.get_num_gpus() and index == "flat":
        built = faiss.index_cpu_to_all_gpus(built)
    built.add(points)
    return built


def _fill(
    lists: NeighborLists, features: FloatArray, built: Any, columns: IntArray, rows: IntArray, number: int
) -> None:
    """Searches for the images in `rows` and writes their list `number`."""
    depth = lists.index.shape[2]
    similarity, found = built.search(np.ascontiguousarray(features[rows]), min(depth + SPARE, len(columns)))
    index = np.where(found >= 0, columns[found], -1).astype(np.int32)
    distance = np.where(found >= 0, np.maximum(2 - 2 * similarity, 0), np.inf).astype(np.float32)
    own = np.flatnonzero(np.isin(rows, columns))
    _put_itself_first(index, distance, rows, own)
    by_index = np.argsort(np.where(index < 0, np.iinfo(np.int32).max, index), axis=1, kind="stable")
    key = np.take_along_axis(distance, by_index, 1)
    order = np.take_along_axis(by_index, np.argsort(key, axis=1, kind="stable"), 1)[:, :depth]
    width = order.shape[1]
    lists.index[rows, number, :width] = np.take_along_axis(index, order, 1)
    lists.distance[rows, number, :width] = np.maximum(np.take_along_axis(distance, order, 1), 0)


def _put_itself_first(index: IntArray, distance: FloatArray, rows: IntArray, own: NDArray[np.intp]) -> None:
    """Makes each image the first of its own list; an approximate index may have missed it."""
    itself = index[own] == rows[own, None]
    place = np.where(itself.any(axis=1), itself.argmax(axis=1), index.shape[1] - 1)
    index[own, place] = rows[own]
    distance[own, place] = -1.0
