"""The epoch's clustering as a graph of Ray tasks over row ranges; its labels are those of the unsharded one.

For each clustering: search ranges -> merge -> encode ranges -> merge -> extend ranges -> merge and invert ->
Jaccard ranges -> DBSCAN. What passes between the tasks stays in the object store and is read in place. Every
intermediate but the features can be computed anew by Ray when a node is lost; the features are put anew by the caller.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from cluster.config import ClusteringTaskConfig
from cluster.task_resources import hide_gpus
from ecul.clustering.dbscan import dbscan_labels
from ecul.clustering.diagnostics import adjusted_rand_index, describe_labels, mean_silhouette
from ecul.clustering.encoding import half_range
from ecul.clustering.pipeline import STABILITY_STEP, check_bank
from ecul.clustering.presets import build_recipe
from ecul.clustering.ranges import encode_range, encoding_lists, extend_range, jaccard_range
from ecul.clustering.search.lists import NeighborLists, NeighborSpec, concatenate_lists, join_specs, search, search_rows
from ecul.clustering.selection import other_modality_spec, select_pairs
from ecul.clustering.sparse import SparseRows, concatenate_rows, inverted_index
from ecul.types import (
    ClusteringParameters,
    ClusteringRequest,
    ClusteringResult,
    FeatureBank,
    IntArray,
    Modality,
    SelectionParameters,
)

Range = tuple[int, int]
Labelled = tuple[IntArray, int, dict[str, float]]


class TaskGraph:
    """Submits the stages with the configured resources; nothing waits until the result is asked for."""

    def __init__(self, config: ClusteringTaskConfig, options: dict[str, Any], num_threads: int | None) -> None:
        """Takes the number of shards and the Ray options and threads of each task."""
        self._config = config
        self._options = options | {"max_retries": config.max_retries}
        self._threads = num_threads

    def submit(self, function: Callable[..., Any], *inputs: Any, num_returns: int = 1) -> Any:
        """Returns the reference(s) to what `function(*inputs, num_threads=...)` will return."""
        task = ray.remote(_prepared).options(
            **(self._options | {"name": f"clustering/{function.__name__}", "num_returns": num_returns})
        )
        return task.remote(self._config, partial(function, num_threads=self._threads), *inputs)

    def over_rows(self, function: Callable[..., Any], num_rows: int, *inputs: Any) -> list[Any]:
        """References to `function` over each row range; its last two inputs are the first and last row."""
        return [self.submit(function, *inputs, *piece) for piece in shard_ranges(num_rows, self._config.shards)]


def shard_ranges(num_rows: int, num_shards: int) -> list[Range]:
    """Returns equal, consecutive, non-empty row ranges, at most `num_shards` of them."""
    bounds = np.linspace(0, num_rows, min(num_shards, max(num_rows, 1)) + 1).astype(int).tolist()
    return list(pairwise(bounds))


def cluster_sharded(
    reference: Any,
    bank: FeatureBank,
    request: ClusteringRequest,
    graph: TaskGraph,
    wait: Callable[[Any], Any],
) -> tuple[ClusteringResult, float]:
    """Returns the epoch's pseudo-labels and the seconds from the first submission to the last result.

    Args:
        reference: the bank in the object store.
        bank: the same here; only its modality and camera are read.
        request: as of `ecul.clustering.pipeline.cluster_epoch`.
        graph: where tasks go.
        wait: `ray.get` with a deadline.
    """
    start = time.perf_counter()
    check_bank(bank)
    rows = [np.flatnonzero(bank.modality == kind).astype(np.int32) for kind in Modality]
    lists = _searched(graph, reference, bank, request, rows)
    references: list[Any] = []
    for members in rows:
        part, own = graph.submit(_part_of, reference, lists["intra"], members, num_returns=2)
        references.append(_labelled(graph, part, len(members), own, request.intra)[0])
    pairs: Any = None
    if request.united is not None:
        united, fused = _labelled(graph, reference, len(bank), lists["united"], request.united)
        references.append(united)
        if request.selection is not None:
            pairs = graph.submit(_selected, fused, lists["selection"], reference, request.selection)
    found: list[Labelled] = [wait(labelled) for labelled in references]
    result = _joined(found, rows, len(bank), None if pairs is None else wait(pairs))
    return result, time.perf_counter() - start


def _searched(
    graph: TaskGraph, reference: Any, bank: FeatureBank, request: ClusteringRequest, rows: list[IntArray]
) -> dict[str, Any]:
    """References to the neighbour lists of the epoch by name, those of one index from one pass."""
    recipes = [build_recipe(_outline(bank, members), request.intra) for members in rows]
    wanted = {"intra": (request.intra.index, join_specs([recipe.spec for recipe in recipes], rows, len(bank)))}
    if request.united is not None:
        wanted["united"] = (request.united.index, build_recipe(bank, request.united).spec)
        if request.selection is not None:
            spec = other_modality_spec(bank.modality, request.selection.num_neighbors)
            wanted["selection"] = (request.united.index, spec)
    found: dict[str, Any] = {}
    for index in sorted({index for index, _ in wanted.values()}):
        names = [name for name, (kind, _) in wanted.items() if kind == index]
        specs = [wanted[name][1] for name in names]
        if index == "flat":
            pieces = graph.over_rows(_search_range, len(bank), reference, specs)
        else:
            pieces = [graph.submit(_search_approximate, reference, specs, index)]
        merged = graph.submit(_merged_lists, *pieces, num_returns=len(names))
        found |= dict(zip(names, merged if len(names) > 1 else [merged], strict=True))
    return found


def _labelled(
    graph: TaskGraph, bank: Any, num_rows: int, lists: Any, parameters: ClusteringParameters
) -> tuple[Any, Any]:
    """References to the labels with their figures and to the fused encodings, of everything after the search."""
    near, half = graph.submit(_encoding_inputs, bank, lists, parameters, num_returns=2)
    encoding = graph.submit(_merged_rows, *graph.over_rows(_encode_range, num_rows, bank, near, half, parameters))
    pieces = graph.over_rows(_extend_range, num_rows, bank, encoding, lists, parameters)
    fused, inverted = graph.submit(_merged_and_inverted, num_rows, *pieces, num_returns=2)
    graphs = graph.over_rows(jaccard_range, num_rows, fused, inverted, parameters.eps)
    return graph.submit(_labels, bank, fused, inverted, parameters, *graphs), fused


def _joined(found: list[Labelled], rows: list[IntArray], num_rows: int, pairs: IntArray | None) -> ClusteringResult:
    intra_label = np.full(num_rows, -1, np.int32)
    diagnostics: dict[str, float] = {}
    for kind, members, (labels, _, figures) in zip(Modality, rows, found, strict=False):
        intra_label[members] = labels
        diagnostics |= {f"{kind.name.lower()}/{name}": value for name, value in figures.items()}
    united = found[2] if len(found) > 2 else None
    if united is not None:
        diagnostics |= {f"united/{name}": value for name, value in united[2].items()}
    if united is not None and pairs is not None:
        diagnostics |= {
            "selection/pairs": float(len(pairs)),
            "selection/linked_share": float(len(np.unique(pairs)) / max(num_rows, 1)),
            "selection/noise_pair_share": float((united[0][pairs] < 0).any(axis=1).mean()) if len(pairs) else 0.0,
        }
    return ClusteringResult(
        intra_label=intra_label,
        num_visible_clusters=found[0][1],
        num_infrared_clusters=found[1][1],
        united_label=None if united is None else united[0],
        num_united_clusters=0 if united is None else united[1],
        selected_pairs=pairs,
        diagnostics=diagnostics,
    )


def _outline(bank: FeatureBank, members: IntArray) -> FeatureBank:
    """A part of the bank without its features, which recipes do not read."""
    return FeatureBank(np.empty((len(members), 0), np.float32), bank.modality[members], bank.camera[members])


# Each of the following runs in a task; its inputs are read-only memory of the object store.


def _prepared(config: ClusteringTaskConfig, function: partial[Any], *inputs: Any) -> Any:
    hide_gpus(config)
    return function(*inputs)


def _search_range(
    bank: FeatureBank, specs: Sequence[NeighborSpec], first: int, last: int, *, num_threads: int | None
) -> list[NeighborLists]:
    return search_rows(bank.features, specs, first, last, num_threads=num_threads)


def _search_approximate(
    bank: FeatureBank, specs: Sequence[NeighborSpec], index: str, *, num_threads: int | None
) -> list[NeighborLists]:
    return search(bank.features, specs, index=index, num_threads=num_threads)


def _merged_lists(*pieces: list[NeighborLists], num_threads: int | None) -> Any:
    merged = [concatenate_lists(part) for part in zip(*pieces, strict=True)]
    return merged if len(merged) > 1 else merged[0]


def _part_of(
    bank: FeatureBank, lists: NeighborLists, members: NDArray[np.int32], *, num_threads: int | None
) -> tuple[FeatureBank, NeighborLists]:
    part = FeatureBank(bank.features[members], bank.modality[members], bank.camera[members])
    return part, lists.subset(members, len(bank))


def _encoding_inputs(
    bank: FeatureBank, lists: NeighborLists, parameters: ClusteringParameters, *, num_threads: int | None
) -> tuple[NeighborLists, SparseRows]:
    recipe = build_recipe(bank, parameters)
    near = encoding_lists(recipe, lists, num_threads=num_threads)
    return near, half_range(near, recipe, num_threads=num_threads)


def _encode_range(
    bank: FeatureBank,
    near: NeighborLists,
    half: SparseRows,
    parameters: ClusteringParameters,
    first: int,
    last: int,
    *,
    num_threads: int | None,
) -> SparseRows:
    recipe = build_recipe(bank, parameters)
    return encode_range(bank.features, near, half, recipe, first, last, num_threads=num_threads)


def _extend_range(
    bank: FeatureBank,
    encoding: SparseRows,
    lists: NeighborLists,
    parameters: ClusteringParameters,
    first: int,
    last: int,
    *,
    num_threads: int | None,
) -> SparseRows:
    return extend_range(encoding, lists, build_recipe(bank, parameters), first, last, num_threads=num_threads)


def _merged_rows(*pieces: SparseRows, num_threads: int | None) -> SparseRows:
    return concatenate_rows(pieces)


def _merged_and_inverted(num_rows: int, *pieces: SparseRows, num_threads: int | None) -> tuple[SparseRows, SparseRows]:
    fused = concatenate_rows(pieces)
    return fused, inverted_index(fused, num_rows)


def _labels(
    bank: FeatureBank,
    fused: SparseRows,
    inverted: SparseRows,
    parameters: ClusteringParameters,
    *pieces: SparseRows,
    num_threads: int | None,
) -> Labelled:
    graph = concatenate_rows(pieces)
    labels, num_clusters = dbscan_labels(graph, eps=parameters.eps, min_samples=parameters.min_samples)
    stricter, _ = dbscan_labels(graph, eps=STABILITY_STEP * parameters.eps, min_samples=parameters.min_samples)
    figures = describe_labels(labels, num_clusters, bank) | {
        "silhouette": mean_silhouette(labels, num_clusters, fused, inverted),
        "stability": adjusted_rand_index(labels, stricter),
    }
    return labels, num_clusters, figures


def _selected(
    fused: SparseRows,
    lists: NeighborLists,
    bank: FeatureBank,
    parameters: SelectionParameters,
    *,
    num_threads: int | None,
) -> IntArray:
    return select_pairs(fused, lists, bank.modality, parameters)
