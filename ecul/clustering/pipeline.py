"""Pseudo-labels of a feature bank: one clustering, or all that one epoch asks for.

The stages in order, each over a range of rows given the whole compact input, so that a scheduler can run ranges on
several machines and concatenate (see `ecul.clustering.ranges`):
search -> encode -> extend and filter -> Jaccard distances up to eps -> DBSCAN.
"""

import time
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ecul.clustering.dbscan import dbscan_labels
from ecul.clustering.diagnostics import adjusted_rand_index, describe_labels, mean_silhouette
from ecul.clustering.presets import Recipe, build_recipe
from ecul.clustering.ranges import encode_all, extend_range, jaccard_range
from ecul.clustering.search.lists import NeighborLists, join_specs, recall_on_sample, search
from ecul.clustering.selection import other_modality_spec, select_pairs
from ecul.clustering.sparse import SparseRows, inverted_index
from ecul.types import (
    ClusteringParameters,
    ClusteringRequest,
    ClusteringResult,
    FeatureBank,
    IntArray,
    Modality,
)

STABILITY_STEP = 0.95


@dataclass(frozen=True)
class Clustering:
    """One clustering of a bank.

    Attributes:
        labels: int32 (N,), dense, -1 noise.
        num_clusters: number of clusters.
        graph: float32 (N, N) sparse, Jaccard distances J <= eps, explicit zeros stored.
        diagnostics: label-free figures by name, and the seconds of each stage.
    """

    labels: IntArray
    num_clusters: int
    graph: sp.csr_array
    diagnostics: dict[str, float]


@dataclass(frozen=True)
class _Traced:
    """A clustering together with the fused encodings it came from."""

    clustering: Clustering
    fused: SparseRows


class _Clock:
    """Seconds by stage, and the process's processor seconds, which a busy machine leaves as they are."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self._last = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """Books the time since the last lap under `name`."""
        now = time.perf_counter(), time.process_time()
        self.seconds[f"{name}_seconds"] = now[0] - self._last[0]
        self.processor[f"{name}_cpu_seconds"] = now[1] - self._last[1]
        self._last = now


def check_bank(bank: FeatureBank) -> None:
    """Makes sure the bank can be clustered.

    Raises:
        ValueError: wrong shapes or types, non-finite values, or rows that are not unit vectors.
    """
    features = bank.features
    if features.ndim != 2 or features.dtype != np.float32:
        raise ValueError(f"got features {features.dtype} {features.shape}; expected float32 (N, D)")
    for name in ("modality", "camera"):
        if getattr(bank, name).shape != (len(features),):
            raise ValueError(f"got {name} {getattr(bank, name).shape}; expected ({len(features)},) like the features")
    norms = np.sqrt(np.einsum("nd,nd->n", features, features))
    if not np.all(np.abs(norms - 1) < 1e-3):
        row = int(np.flatnonzero(~(np.abs(norms - 1) < 1e-3))[0])
        raise ValueError(f"features row {row} has norm {norms[row]:.4g}; normalise the rows to length 1")


def cluster(bank: FeatureBank, parameters: ClusteringParameters, *, num_threads: int | None = None) -> Clustering:
    """Clusters all images of the bank by one preset.

    Args:
        bank: float32 unit rows with modality and camera.
        parameters: preset and its numbers.
        num_threads: threads to use; None for all processors. Results do not depend on it.

    Raises:
        ValueError: a bank or parameters that cannot be used.
    """
    check_bank(bank)
    recipe = build_recipe(bank, parameters)
    clock = _Clock()
    lists = search(bank.features, [recipe.spec], index=parameters.index, num_threads=num_threads)[0]
    clock.lap("search")
    result = _cluster_lists(bank, parameters, recipe, lists, clock, num_threads).clustering
    if parameters.index != "flat":
        result.diagnostics["search_recall"] = recall_on_sample(bank.features, recipe.spec, lists)
    return result


def _cluster_lists(
    bank: FeatureBank,
    parameters: ClusteringParameters,
    recipe: Recipe,
    lists: NeighborLists,
    clock: _Clock,
    num_threads: int | None,
) -> _Traced:
    """Everything after the search."""
    encoding = encode_all(bank.features, lists, recipe, num_threads=num_threads)
    clock.lap("encode")
    fused = extend_range(encoding, lists, recipe, 0, len(bank), num_threads=num_threads)
    clock.lap("extend")
    inverted = inverted_index(fused, len(bank))
    graph = jaccard_range(fused, inverted, parameters.eps, 0, len(bank), num_threads=num_threads)
    clock.lap("jaccard")
    labels, num_clusters = dbscan_labels(graph, eps=parameters.eps, min_samples=parameters.min_samples)
    clock.lap("dbscan")
    figures = describe_labels(labels, num_clusters, bank)
    figures["silhouette"] = mean_silhouette(labels, num_clusters, fused, inverted)
    figures["stability"] = _stability(labels, graph, parameters)
    clock.lap("diagnostics")
    figures |= clock.seconds | clock.processor | {"seconds": sum(clock.seconds.values())}
    return _Traced(Clustering(labels, num_clusters, graph.csr(len(bank)), figures), fused)


def _stability(labels: IntArray, graph: SparseRows, parameters: ClusteringParameters) -> float:
    """Adjusted Rand index between the labels and those of a slightly smaller eps, which needs no new distances."""
    stricter, _ = dbscan_labels(graph, eps=STABILITY_STEP * parameters.eps, min_samples=parameters.min_samples)
    return adjusted_rand_index(labels, stricter)


def _subset(bank: FeatureBank, rows: IntArray) -> FeatureBank:
    return FeatureBank(bank.features[rows], bank.modality[rows], bank.camera[rows])


def cluster_epoch(bank: FeatureBank, request: ClusteringRequest, *, num_threads: int | None = None) -> ClusteringResult:
    """Pseudo-labels of one epoch: each modality alone, both united, and the selected pairs, from one neighbour search.

    Args:
        bank: float32 unit rows with modality and camera.
        request: parameters of the intra-modality clustering and, in stage 2, of the united one and the selection.
        num_threads: threads to use; None for all processors. Results do not depend on it.

    Returns:
        Labels and pairs; `diagnostics` names begin with `visible/`, `infrared/`, `united/`, `selection/`, and
        `search_seconds` is the one search.

    Raises:
        ValueError: a bank or parameters that cannot be used.
    """
    check_bank(bank)
    rows = [np.flatnonzero(bank.modality == kind).astype(np.int32) for kind in Modality]
    parts = [_subset(bank, members) for members in rows]
    recipes = [build_recipe(part, request.intra) for part in parts]
    clock = _Clock()
    lists = _epoch_lists(bank, request, recipes, rows, num_threads)
    clock.lap("search")
    diagnostics: dict[str, float] = dict(clock.seconds)
    intra_label = np.full(len(bank), -1, np.int32)
    counts: list[int] = []
    for kind, members, part, recipe in zip(Modality, rows, parts, recipes, strict=True):
        own = lists["intra"].subset(members, len(bank))
        result = _cluster_lists(part, request.intra, recipe, own, _Clock(), num_threads).clustering
        intra_label[members] = result.labels
        counts.append(result.num_clusters)
        diagnostics |= {f"{kind.name.lower()}/{name}": value for name, value in result.diagnostics.items()}
    united, pairs = _unite(bank, request, lists, diagnostics, num_threads)
    return ClusteringResult(
        intra_label=intra_label,
        num_visible_clusters=counts[0],
        num_infrared_clusters=counts[1],
        united_label=None if united is None else united.labels,
        num_united_clusters=0 if united is None else united.num_clusters,
        selected_pairs=pairs,
        diagnostics=diagnostics,
    )


def _epoch_lists(
    bank: FeatureBank,
    request: ClusteringRequest,
    recipes: list[Recipe],
    rows: list[IntArray],
    num_threads: int | None,
) -> dict[str, NeighborLists]:
    """All neighbour lists of an epoch, those of the same index from the same pass over the data."""
    wanted = {"intra": (request.intra.index, join_specs([recipe.spec for recipe in recipes], rows, len(bank)))}
    if request.united is not None:
        wanted["united"] = (request.united.index, build_recipe(bank, request.united).spec)
        if request.selection is not None:
            spec = other_modality_spec(bank.modality, request.selection.num_neighbors)
            wanted["selection"] = (request.united.index, spec)
    found: dict[str, NeighborLists] = {}
    for index in sorted({index for index, _ in wanted.values()}):
        names = [name for name, (kind, _) in wanted.items() if kind == index]
        specs = [wanted[name][1] for name in names]
        found |= dict(zip(names, search(bank.features, specs, index=index, num_threads=num_threads), strict=True))
    return found


def _unite(
    bank: FeatureBank,
    request: ClusteringRequest,
    lists: dict[str, NeighborLists],
    diagnostics: dict[str, float],
    num_threads: int | None,
) -> tuple[Clustering | None, IntArray | None]:
    """The united clustering and the selected pairs, where asked for; adds their figures to `diagnostics`."""
    if request.united is None:
        return None, None
    recipe = build_recipe(bank, request.united)
    traced = _cluster_lists(bank, request.united, recipe, lists["united"], _Clock(), num_threads)
    diagnostics |= {f"united/{name}": value for name, value in traced.clustering.diagnostics.items()}
    if request.selection is None:
        return traced.clustering, None
    clock = _Clock()
    pairs = select_pairs(traced.fused, lists["selection"], bank.modality, request.selection)
    clock.lap("selection")
    linked = len(np.unique(pairs)) / max(len(bank), 1)
    noise = traced.clustering.labels[pairs] < 0
    diagnostics |= {
        "selection/pairs": float(len(pairs)),
        "selection/linked_share": float(linked),
        "selection/noise_pair_share": float(noise.any(axis=1).mean()) if len(pairs) else 0.0,
        "selection/seconds": clock.seconds["selection_seconds"],
    }
    return traced.clustering, pairs
