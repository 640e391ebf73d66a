"""One clustering through an executor: the search, and everything after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecul.clustering.dbscan import dbscan_labels
from ecul.clustering.diagnostics import adjusted_rand_index, describe_labels, mean_silhouette
from ecul.clustering.executor import Executor, Range, row_blocks
from ecul.clustering.points import Points
from ecul.clustering.presets import Recipe
from ecul.clustering.ranges import (
    encode_range,
    encoding_inputs,
    extend_range,
    jaccard_range,
    joined,
    joined_and_inverted,
)
from ecul.clustering.search.blocks import decide_block, join_blocks, propose_pair
from ecul.clustering.search.lists import NeighborLists, NeighborSpec
from ecul.clustering.search.search import SearchReport, search
from ecul.clustering.sparse import SparseRows
from ecul.names import SearchBackend
from ecul.types import ClusteringParameters, FeatureBank, IntArray

STABILITY_STEP = 0.95
Labelled = tuple[IntArray, int, dict[str, float]]
"""Labels of points, number of clusters, label-free metrics."""


@dataclass(frozen=True)
class Part:
    """The points of one clustering.

    Attributes:
        name: prefix of its diagnostics.
        bank: handle to its bank.
        num_rows: P.
        copies: int32 (P,), images of every point.
        first: int32 (P,), lowest image of every point.
    """

    name: str
    bank: Any
    num_rows: int
    copies: IntArray
    first: IntArray


def search_lists(
    run: Executor, bank: Any, points: Points, specs: Sequence[NeighborSpec], backend: SearchBackend
) -> tuple[list[Any], SearchReport]:
    """Handles to the lists for each spec, all from one pass over the data, and the report.

    Raises:
        ValueError: a backend that cannot search block by block, where there are several blocks.
    """
    blocks = row_blocks(len(points), run.num_blocks)
    wanted = run.share(list(specs))
    if len(blocks) == 1:
        lists, report = run.submit("search", _search_whole, bank, wanted, backend, run.num_threads, num_returns=2)
    else:
        if backend not in ("auto", "tiles"):
            raise ValueError(f"backend {backend} cannot search in {len(blocks)} shards; choose tiles, or one shard")
        lists, report = run.submit("search", join_blocks, *_search_blocks(run, bank, wanted, blocks), num_returns=2)
    chosen = [run.submit("search", _one_of, lists, number) for number in range(len(specs))]
    return chosen, run.get(report)


def _search_blocks(run: Executor, bank: Any, specs: Any, blocks: Sequence[Range]) -> list[Any]:
    """Handles to the lists of each block of rows: each pair of blocks is one function, and each block one more."""
    proposed: list[list[Any]] = [[] for _ in blocks]
    for a, rows in enumerate(blocks):
        for b, columns in enumerate(blocks[a:], start=a):
            own, other = run.submit("search", propose_pair, bank, specs, rows, columns, run.num_threads, num_returns=2)
            proposed[a].append(own)
            if b > a:
                proposed[b].append(other)
    return [run.submit("search", decide_block, bank, specs, run.num_threads, *parts) for parts in proposed]


def _search_whole(
    bank: FeatureBank, specs: Sequence[NeighborSpec], backend: SearchBackend, num_threads: int | None
) -> tuple[list[NeighborLists], SearchReport]:
    return search(bank.features, specs, backend=backend, num_threads=num_threads)


def _one_of(lists: list[NeighborLists], number: int) -> NeighborLists:
    return lists[number]


def label(
    run: Executor, part: Part, lists: Sequence[Any], recipe: Recipe, parameters: ClusteringParameters
) -> tuple[Any, Any, Any]:
    """Handles to the labels with their metrics, the fused encodings, and the graph: everything after the search.

    `lists` are handles to those of `recipe.specs`.
    """

    def over_rows(stage: str, function: Callable[..., Any], *inputs: Any) -> list[Any]:
        blocks = row_blocks(part.num_rows, run.num_blocks)
        return [run.submit(part.name + stage, function, *inputs, run.num_threads, *rows) for rows in blocks]

    encode, extend, jaccard = f"{part.name}encode", f"{part.name}extend", f"{part.name}jaccard"
    inputs = run.submit(encode, encoding_inputs, lists[0], recipe, run.num_threads)
    encoding = run.submit(encode, joined, *over_rows("encode", encode_range, part.bank, inputs, recipe))
    pieces = over_rows("extend", extend_range, encoding, lists[-1], recipe)
    fused, inverted = run.submit(extend, joined_and_inverted, *pieces, num_returns=2)
    graph = run.submit(jaccard, joined, *over_rows("jaccard", jaccard_range, fused, inverted, parameters.eps))
    labels = run.submit(
        f"{part.name}dbscan", dbscan_points, graph, parameters.eps, parameters.min_samples, part.copies, part.first
    )
    labelled = run.submit(
        f"{part.name}diagnostics", measured, labels, graph, fused, inverted, parameters, part.bank, part.copies
    )
    return labelled, fused, graph


def dbscan_points(
    graph: SparseRows, eps: float, min_samples: int, copies: IntArray, first: IntArray
) -> tuple[IntArray, int]:
    """Labels of points and the number of clusters; see `dbscan_labels`."""
    return dbscan_labels(graph, eps=eps, min_samples=min_samples, copies=copies, first=first)


def measured(
    found: tuple[IntArray, int],
    graph: SparseRows,
    fused: SparseRows,
    inverted: SparseRows,
    parameters: ClusteringParameters,
    bank: FeatureBank,
    copies: IntArray,
) -> Labelled:
    """The labels of points with their label-free metrics, which count images.

    `graph` holds the distances up to `parameters.eps`, at least; the encodings do not depend on eps.
    """
    labels, num_clusters = found
    # how little the labels change under a slightly smaller eps, which needs no new distances
    stricter, _ = dbscan_labels(
        graph, eps=STABILITY_STEP * parameters.eps, min_samples=parameters.min_samples, copies=copies
    )
    modality, camera = np.repeat(bank.modality, copies), np.repeat(bank.camera, copies)
    metrics = describe_labels(np.repeat(labels, copies), num_clusters, modality, camera)
    metrics["silhouette"] = mean_silhouette(labels, num_clusters, fused, inverted)
    metrics["stability"] = adjusted_rand_index(np.repeat(labels, copies), np.repeat(stricter, copies))
    return labels, num_clusters, metrics
