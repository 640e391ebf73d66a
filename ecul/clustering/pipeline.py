"""Pseudo-labels of a feature bank: one clustering, or all that one epoch asks for.

points -> search -> encode -> extend and filter -> Jaccard distances up to eps -> DBSCAN -> diagnostics.
Each stage works on ranges of rows, given the whole compact input, through an executor: in this process, or as tasks.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from ecul.clustering.centring import centred
from ecul.clustering.executor import Executor, InProcess
from ecul.clustering.labelling import Labelled, Part, dbscan_points, label, measured, search_lists
from ecul.clustering.points import Points, find_points
from ecul.clustering.presets import Recipe, build_recipe
from ecul.clustering.search.exact import NORM_TOLERANCE
from ecul.clustering.search.lists import NeighborLists, NeighborSpec, join_specs
from ecul.clustering.search.search import SearchReport, join_reports
from ecul.clustering.selection import other_modality_spec, select_pairs
from ecul.clustering.sparse import SparseRows, inverted_index
from ecul.clustering.transport import linked
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


def centred_points(bank: FeatureBank, centring: str) -> Points:
    """The points of the centred bank."""
    return find_points(centred(bank, centring))


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
    points, report, labelled, _, graph = _one_clustering(run, bank, parameters)
    labels, num_clusters, metrics = labelled
    metrics |= report.metrics() | run.seconds()
    metrics["seconds"] = sum(value for name, value in run.seconds().items() if not name.endswith("_cpu_seconds"))
    return Clustering(labels[points.point], num_clusters, points.graph_of_images(graph.csr(len(points))), metrics)


def eps_curve(
    bank: FeatureBank, parameters: ClusteringParameters, values: Sequence[float], *, num_threads: int | None = None
) -> list[dict[str, float]]:
    """The label-free metrics that `cluster` would give at each eps, with the eps, from one graph: the largest one's.

    Args:
        bank: float32 unit rows with modality and camera.
        parameters: preset and its numbers; their eps does not count.
        values: of eps, in (0, 1).
        num_threads: threads to use; None for all processors.

    Raises:
        ValueError: a bank or parameters that cannot be used, or no values.
        SearchError: the search's products are wrong on this machine.
    """
    run = InProcess(num_threads)
    points, _, _, fused, graph = _one_clustering(run, bank, replace(parameters, eps=max(values)))
    inverted = inverted_index(fused, len(fused))
    curve: list[dict[str, float]] = []
    for eps in values:
        found = dbscan_points(graph, eps, parameters.min_samples, points.copies, points.first)
        own = replace(parameters, eps=eps)
        _, _, metrics = measured(found, graph, fused, inverted, own, points.bank, points.copies)
        curve.append({"eps": eps, **metrics})
    return curve


def _one_clustering(
    run: InProcess, bank: FeatureBank, parameters: ClusteringParameters
) -> tuple[Points, SearchReport, Labelled, SparseRows, SparseRows]:
    """The points of a bank, how they were searched, their labels, fused encodings and graph."""
    check_bank(bank)
    points = run.submit("points", centred_points, bank, parameters.centring)
    recipe = build_recipe(points.bank, parameters, points.copies)
    lists, report = search_lists(run, points.bank, points, recipe.specs, parameters.backend)
    part = Part("", points.bank, len(points), points.copies, points.first)
    return points, report, *label(run, part, lists, recipe, parameters)


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
        request: parameters of the intra-modality clustering and, in stage 2, of the united one, its links and the
            selection.
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
    inside, both, report = _views(run, bank, request)
    recipes = [_modality_recipe(inside.points, request.intra, kind) for kind in Modality]
    handles: list[Any] = []
    for kind, recipe in zip(Modality, recipes, strict=True):
        part, own = _modality_part(run, inside, kind)
        handles.append(label(run, part, own, recipe, request.intra)[0])
    pairs: Any = None
    if request.united is not None:
        points = both.points
        part = Part("united/", both.bank, len(points), points.copies, points.first)
        recipe = build_recipe(points.bank, request.united, points.copies)
        labelled, fused, _ = label(run, part, both.lists["united"], recipe, request.united)
        handles.append(labelled)
        if request.selection is not None:
            inputs = (fused, *both.lists["selection"], points.bank.modality, points.copies, request.selection)
            pairs = run.submit("selection/selection", select_pairs, *inputs)
    found: list[Labelled] = [run.get(handle) for handle in handles]
    selected = None if pairs is None else run.get(pairs)
    result = _result(inside.points, both.points, found, selected, report, run.seconds())
    return linked(result, both.points, request.links) if request.links.method == "transport" else result


@dataclass(frozen=True)
class _View:
    """A bank as some clusterings see it: centred in one way.

    Attributes:
        points: of the centred bank.
        bank: handle to the bank of the points.
        lists: handles to lists by the name of what needs them: `intra`, `united`, `selection`.
    """

    points: Points
    bank: Any
    lists: dict[str, list[Any]]


def _views(run: Executor, bank: FeatureBank, request: ClusteringRequest) -> tuple[_View, _View, SearchReport]:
    """What the clusterings inside the modalities see, and what the united one sees; the same view where it can be."""
    united = request.united
    wanted = {request.intra.centring: ["intra"]}
    if united is not None:
        wanted.setdefault(united.centring, []).extend(["united"] if request.selection is None else _BOTH)
    backend = request.intra.backend if united is None else united.backend
    views, reports = [], []
    for centring, names in wanted.items():
        points = centred_points(bank, centring)
        shared = run.share(points.bank)
        specs = {name: _specs(points, request, name) for name in names}
        found, report = search_lists(run, shared, points, list(itertools.chain(*specs.values())), backend)
        handles = iter(found)
        views.append(_View(points, shared, {name: [next(handles) for _ in specs[name]] for name in names}))
        reports.append(report)
    return views[0], views[-1], join_reports(reports)


_BOTH = ["united", "selection"]


def _specs(points: Points, request: ClusteringRequest, name: str) -> list[NeighborSpec]:
    """The lists that the clusterings inside the modalities, the united one or the selection need."""
    if name == "intra":
        rows = [np.arange(*_modality_rows(points, kind), dtype=np.int32) for kind in Modality]
        specs = [_modality_recipe(points, request.intra, kind).specs for kind in Modality]
        return [join_specs(same, rows, len(points)) for same in zip(*specs, strict=True)]
    if name == "selection" and request.selection is not None:
        return [other_modality_spec(points.bank.modality, request.selection.num_neighbors)]
    return [] if request.united is None else build_recipe(points.bank, request.united).specs


def _modality_rows(points: Points, kind: Modality) -> tuple[int, int]:
    """First and one past the last point of a modality: points are ordered by it."""
    first, last = np.searchsorted(points.bank.modality, [kind, kind + 1])
    return int(first), int(last)


def _modality_recipe(points: Points, parameters: ClusteringParameters, kind: Modality) -> Recipe:
    """The recipe of the clustering inside one modality."""
    rows = slice(*_modality_rows(points, kind))
    outline = np.empty((rows.stop - rows.start, 0), np.float32)  # recipes read no features
    bank = FeatureBank(outline, points.bank.modality[rows], points.bank.camera[rows])
    return build_recipe(bank, parameters, points.copies[rows])


def _modality_part(run: Executor, view: _View, kind: Modality) -> tuple[Part, list[Any]]:
    """The points of one modality, and handles to their lists."""
    points, name = view.points, f"{kind.name.lower()}/"
    first, last = _modality_rows(points, kind)
    part, *own = run.submit(
        f"{name}encode",
        _rows_of,
        view.bank,
        first,
        last,
        *view.lists["intra"],
        num_returns=1 + len(view.lists["intra"]),
    )
    return Part(name, part, last - first, points.copies[first:last], points.first[first:last]), own


def _rows_of(
    bank: FeatureBank, first: int, last: int, *lists: NeighborLists
) -> tuple[FeatureBank | NeighborLists, ...]:
    rows = slice(first, last)
    part = FeatureBank(bank.features[rows], bank.modality[rows], bank.camera[rows])
    return part, *(own.subset(np.arange(first, last, dtype=np.int32), len(bank)) for own in lists)


def _result(
    points: Points,
    united_points: Points,
    found: list[Labelled],
    pairs: IntArray | None,
    report: SearchReport,
    seconds: dict[str, float],
) -> ClusteringResult:
    """The epoch's labels of images, and all diagnostics by name."""
    intra = np.full(len(points), -1, np.int32)
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
        pairs = united_points.pairs_of_images(pairs)
        noise = united[0][united_points.point][pairs] < 0
        diagnostics |= {
            "selection/pairs": float(len(pairs)),
            "selection/linked_share": float(len(np.unique(pairs)) / max(len(united_points.point), 1)),
            "selection/noise_pair_share": float(noise.any(axis=1).mean()) if len(pairs) else 0.0,
            "selection/seconds": seconds["selection/selection_seconds"],
        }
    return ClusteringResult(
        intra_label=intra[points.point],
        num_visible_clusters=found[0][1],
        num_infrared_clusters=found[1][1],
        united_label=None if united is None else united[0][united_points.point],
        num_united_clusters=0 if united is None else united[1],
        selected_pairs=pairs,
        diagnostics=diagnostics,
    )
