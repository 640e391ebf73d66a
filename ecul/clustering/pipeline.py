"""Pseudo-labels of a feature bank: one clustering, or all that one epoch asks for.

points -> search -> encode -> extend and filter -> Jaccard distances up to eps -> DBSCAN -> diagnostics.
Each stage works on ranges of rows, given the whole compact input, through an executor: in this process, or as tasks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from ecul.clustering.executor import Executor, InProcess
from ecul.clustering.labelling import Labelled, Part, label, search_lists
from ecul.clustering.points import Points, find_points
from ecul.clustering.presets import Recipe, build_recipe
from ecul.clustering.search.exact import NORM_TOLERANCE
from ecul.clustering.search.lists import NeighborLists, NeighborSpec, join_specs
from ecul.clustering.search.search import SearchReport
from ecul.clustering.selection import other_modality_spec, select_pairs
from ecul.types import ClusteringParameters, ClusteringRequest, ClusteringResult, FeatureBank, IntArray, Modality


@dataclass(frozen=True)
class Clustering:
    """One clustering of a bank.

    Attributes:
        labels: int32 (N,), dense, -1 noise.
        num_clusters: number of clusters.
        graph: float32 (N, N) sparse, Jaccard distances J <= eps, explicit zeros stored.
        diagnostics: label-free metrics by name, and the seconds of each stage.
    """

    labels: IntArray
    num_clusters: int
    graph: sp.csr_array
    diagnostics: dict[str, float]


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
    if not np.all(np.abs(norms - 1) < NORM_TOLERANCE):
        row = int(np.flatnonzero(~(np.abs(norms - 1) < NORM_TOLERANCE))[0])
        raise ValueError(f"features row {row} has norm {norms[row]:.4g}; normalise the rows to length 1")


def cluster(bank: FeatureBank, parameters: ClusteringParameters, *, num_threads: int | None = None) -> Clustering:
    """Clusters all images of the bank by one preset.

    Args:
        bank: float32 unit rows with modality and camera.
        parameters: preset and its numbers.
        num_threads: threads to use; None for all processors. Results do not depend on it.

    Raises:
        ValueError: a bank or parameters that cannot be used.
        SearchError: the search's products are wrong on this machine.
    """
    run = InProcess(num_threads)
    check_bank(bank)
    points = run.submit("points", find_points, bank)
    recipe = build_recipe(points.bank, parameters, points.copies)
    (lists,), report = search_lists(run, points.bank, points, [recipe.spec], parameters.backend)
    part = Part("", points.bank, len(points), points.copies, points.first)
    labelled, _, graph = label(run, part, lists, recipe, parameters)
    labels, num_clusters, metrics = labelled
    metrics |= report.metrics() | run.seconds()
    metrics["seconds"] = sum(value for name, value in run.seconds().items() if not name.endswith("_cpu_seconds"))
    return Clustering(labels[points.point], num_clusters, points.graph_of_images(graph.csr(len(points))), metrics)


def cluster_epoch(
    bank: FeatureBank,
    request: ClusteringRequest,
    run: Executor | None = None,
    *,
    num_threads: int | None = None,
) -> ClusteringResult:
    """Pseudo-labels of one epoch: each modality alone, both united, and the selected pairs, from one neighbour search.

    Args:
        bank: float32 unit rows with modality and camera.
        request: parameters of the intra-modality clustering and, in stage 2, of the united one and the selection.
        run: where the stages run; None for this process. Results do not depend on it.
        num_threads: threads to use in this process; None for all processors. Results do not depend on it.

    Returns:
        Labels and pairs; `diagnostics` names begin with `visible/`, `infrared/`, `united/`, `selection/`, `search/`.

    Raises:
        ValueError: a bank or parameters that cannot be used.
        SearchError: the search's products are wrong on this machine.
    """
    run = InProcess(num_threads) if run is None else run
    check_bank(bank)
    points = find_points(bank)
    shared = run.share(points.bank)
    recipes, wanted = _wanted(points, request)
    backend = request.intra.backend if request.united is None else request.united.backend
    lists, report = search_lists(run, shared, points, list(wanted.values()), backend)
    near = dict(zip(wanted, lists, strict=True))
    handles: list[Any] = []
    for kind, recipe in zip(Modality, recipes, strict=True):
        part, own = _modality_part(run, shared, near["intra"], points, kind)
        handles.append(label(run, part, own, recipe, request.intra)[0])
    pairs: Any = None
    if request.united is not None:
        part = Part("united/", shared, len(points), points.copies, points.first)
        recipe = build_recipe(points.bank, request.united, points.copies)
        labelled, fused, _ = label(run, part, near["united"], recipe, request.united)
        handles.append(labelled)
        if request.selection is not None:
            inputs = (fused, near["selection"], points.bank.modality, points.copies, request.selection)
            pairs = run.submit("selection/selection", select_pairs, *inputs)
    found: list[Labelled] = [run.get(handle) for handle in handles]
    return _result(points, found, None if pairs is None else run.get(pairs), report, run.seconds())


def _modality_rows(points: Points, kind: Modality) -> tuple[int, int]:
    """First and one past the last point of a modality: points are ordered by it."""
    first, last = np.searchsorted(points.bank.modality, [kind, kind + 1])
    return int(first), int(last)


def _wanted(points: Points, request: ClusteringRequest) -> tuple[list[Recipe], dict[str, NeighborSpec]]:
    """The recipes inside each modality, and the lists of an epoch by name."""
    bank = points.bank
    rows = [np.flatnonzero(bank.modality == kind).astype(np.int32) for kind in Modality]
    recipes = [build_recipe(_outline(bank, members), request.intra, points.copies[members]) for members in rows]
    wanted = {"intra": join_specs([recipe.spec for recipe in recipes], rows, len(bank))}
    if request.united is not None:
        wanted["united"] = build_recipe(bank, request.united).spec
        if request.selection is not None:
            wanted["selection"] = other_modality_spec(bank.modality, request.selection.num_neighbors)
    return recipes, wanted


def _outline(bank: FeatureBank, members: IntArray) -> FeatureBank:
    """A part of the bank without its features, which recipes do not read."""
    return FeatureBank(np.empty((len(members), 0), np.float32), bank.modality[members], bank.camera[members])


def _modality_part(run: Executor, bank: Any, lists: Any, points: Points, kind: Modality) -> tuple[Part, Any]:
    """The points of one modality, and a handle to their lists."""
    first, last = _modality_rows(points, kind)
    name = f"{kind.name.lower()}/"
    part, own = run.submit(f"{name}encode", _rows_of, bank, lists, first, last, num_returns=2)
    return Part(name, part, last - first, points.copies[first:last], points.first[first:last]), own


def _rows_of(bank: FeatureBank, lists: NeighborLists, first: int, last: int) -> tuple[FeatureBank, NeighborLists]:
    rows = slice(first, last)
    part = FeatureBank(bank.features[rows], bank.modality[rows], bank.camera[rows])
    return part, lists.subset(np.arange(first, last, dtype=np.int32), len(bank))


def _result(
    points: Points,
    found: list[Labelled],
    pairs: IntArray | None,
    report: SearchReport,
    seconds: dict[str, float],
) -> ClusteringResult:
    """The epoch's labels of images, and all diagnostics by name."""
    num_points = len(points)
    intra = np.full(num_points, -1, np.int32)
    diagnostics = report.metrics() | seconds
    names = ["visible", "infrared", "united"][: len(found)]
    for name, (_, _, metrics) in zip(names, found, strict=True):
        diagnostics |= {f"{name}/{metric}": value for metric, value in metrics.items()}
        diagnostics[f"{name}/seconds"] = sum(
            value for stage, value in seconds.items() if stage.startswith(f"{name}/") and "_cpu_" not in stage
        )
    for kind, (labels, _, _) in zip(Modality, found, strict=False):
        first, last = _modality_rows(points, kind)
        intra[first:last] = labels
    united = found[2] if len(found) > 2 else None
    if united is not None and pairs is not None:
        pairs = points.pairs_of_images(pairs)
        noise = united[0][points.point][pairs] < 0
        diagnostics |= {
            "selection/pairs": float(len(pairs)),
            "selection/linked_share": float(len(np.unique(pairs)) / max(len(points.point), 1)),
            "selection/noise_pair_share": float(noise.any(axis=1).mean()) if len(pairs) else 0.0,
            "selection/seconds": seconds["selection/selection_seconds"],
        }
    return ClusteringResult(
        intra_label=intra[points.point],
        num_visible_clusters=found[0][1],
        num_infrared_clusters=found[1][1],
        united_label=None if united is None else united[0][points.point],
        num_united_clusters=0 if united is None else united[1],
        selected_pairs=pairs,
        diagnostics=diagnostics,
    )
