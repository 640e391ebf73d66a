"""How seconds and memory grow with the number of images: measured runs of the clustering, and the fitted exponents."""

import contextlib
import ctypes
import gc
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ecul.bench.dense import dense_clustering
from ecul.bench.simulate import even_counts, modality_of_groups, simulate_bank, sysu_counts
from ecul.clustering.executor import timed
from ecul.clustering.pipeline import cluster
from ecul.clustering.search.search import proposed_by_torch
from ecul.clustering.search.tiled import propose_blocks
from ecul.data.synthetic.presence import SYSU_MODALITY
from ecul.evaluation.cluster_quality import label_quality
from ecul.names import SearchBackend
from ecul.types import ClusteringParameters, FeatureBank, FloatArray, IntArray

STAGES = ("points", "search", "encode", "extend", "jaccard", "dbscan")
"""`points` finds copies and orders the images; the filter is part of `extend`: what it drops is never written."""
WARM_UP_IMAGES = 600
SAMPLE_SECONDS = 0.005
Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        images: N.
        seconds: by stage, and `after_search` and `total`.
        cpu_seconds: the same in processor seconds of all threads, which other work on the machine moves less.
        peak_mib: largest memory of the process during the run beyond what it had before (features included there).
        clusters: found.
        metrics: quality against the simulated identities; `rows_again`, what the search did not certify at once;
            `floor` and `floor_cpu`, seconds of the search's bare matrix products, measured just before it; and
            `over_floor` and `over_floor_cpu`, how many times as long the search took, deciding included.
    """

    images: int
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    peak_mib: float
    clusters: int
    metrics: dict[str, float]


def simulated(num_images: int, dim: int, groups: str, seed: int) -> tuple[FeatureBank, IntArray]:
    """A simulated bank and its identities; `groups` is `sysu` or a number of cameras."""
    if groups == "sysu":
        return simulate_bank(sysu_counts(num_images), SYSU_MODALITY, dim, seed=seed)
    num_groups = int(groups)
    return simulate_bank(even_counts(num_images, num_groups), modality_of_groups(num_groups), dim, seed=seed)


def resident_bytes() -> float:
    """Memory the process holds now; its peak so far where the system does not tell."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _return_free_memory() -> None:
    """Hands freed memory back to the system (glibc), so that reusing it counts again."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def with_peak(function: Callable[[], Result]) -> tuple[Result, float]:
    """The function's result, and the most memory held while it ran beyond that held before, in MiB, by sampling."""
    gc.collect()
    _return_free_memory()
    before = resident_bytes()
    peak, done = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(SAMPLE_SECONDS):
            peak = max(peak, resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = function()
    finally:
        done.set()
        watcher.join()
    return result, (max(peak, resident_bytes()) - before) / 2**20


def warm_up(parameters: ClusteringParameters, groups: str) -> None:
    """Compiles the kernels, or loads them from their cache."""
    cluster(simulated(WARM_UP_IMAGES, 32, groups, 0)[0], parameters)


def floor_seconds(
    features: FloatArray, num_threads: int | None = None, *, backend: SearchBackend = "auto"
) -> tuple[float, float]:
    """Seconds and processor seconds of the bare products of an exact search, where `backend` makes them.

    In the same tiles or blocks, and nothing kept. faiss is compared with the tiles.
    """
    if proposed_by_torch(features, backend):
        from ecul.clustering.search.torch_topk import bare_products

        return timed(lambda: bare_products(features))[1:]
    whole = (0, len(features))
    _, seconds, processor = timed(lambda: propose_blocks(features, [], whole, whole, num_threads=num_threads))
    return seconds, processor


def measure(
    bank: FeatureBank,
    identity: IntArray,
    parameters: ClusteringParameters,
    *,
    num_threads: int | None = None,
    floor: bool = True,
) -> Measured:
    """One run of the sparse engine and, before it, one of the bare products (`floor`)."""
    bare, bare_processor = (0.0, 0.0)
    if floor:
        bare, bare_processor = floor_seconds(bank.features, num_threads, backend=parameters.backend)
    result, peak = with_peak(lambda: cluster(bank, parameters, num_threads=num_threads))
    seconds = {stage: result.diagnostics[f"{stage}_seconds"] for stage in STAGES}
    processor = {stage: result.diagnostics[f"{stage}_cpu_seconds"] for stage in STAGES}
    metrics = label_quality(result.labels, identity, bank.modality)
    metrics["rows_again"] = result.diagnostics["search/rows_again"]
    if floor:
        metrics |= {
            "floor": bare,
            "floor_cpu": bare_processor,
            "over_floor": seconds["search"] / bare,
            "over_floor_cpu": processor["search"] / bare_processor,
        }
    return Measured(
        images=len(bank),
        seconds=_summed(seconds),
        cpu_seconds=_summed(processor),
        peak_mib=peak,
        clusters=result.num_clusters,
        metrics=metrics,
    )


def measure_reference(bank: FeatureBank, identity: IntArray, parameters: ClusteringParameters) -> Measured:
    """One run of the dense version."""
    (labels, taken), peak = with_peak(lambda: dense_clustering(bank, parameters))
    seconds, processor = (
        {stage: taken.get(stage + kind, 0.0) for stage in STAGES} for kind in ("_seconds", "_cpu_seconds")
    )
    seconds["extend"] += taken["filter_seconds"]
    processor["extend"] += taken["filter_cpu_seconds"]
    return Measured(
        images=len(bank),
        seconds=_summed(seconds),
        cpu_seconds=_summed(processor),
        peak_mib=peak,
        clusters=int(labels.max(initial=-1)) + 1,
        metrics=label_quality(labels, identity, bank.modality),
    )


def _summed(seconds: dict[str, float]) -> dict[str, float]:
    total = sum(seconds.values())
    return seconds | {"after_search": total - seconds["points"] - seconds["search"], "total": total}


def ratios(engine: Measured, reference: Measured) -> dict[str, float]:
    """How many times faster and smaller the engine was."""
    return {
        "after_search": reference.seconds["after_search"] / engine.seconds["after_search"],
        "total": reference.seconds["total"] / engine.seconds["total"],
        "memory": reference.peak_mib / max(engine.peak_mib, 1.0),
        "after_search_cpu": reference.cpu_seconds["after_search"] / engine.cpu_seconds["after_search"],
        "total_cpu": reference.cpu_seconds["total"] / engine.cpu_seconds["total"],
    }


def exponent(runs: Sequence[Measured], stage: str, *, cpu: bool = False) -> float:
    """Slope of log seconds (or processor seconds) over log N by least squares; NaN with fewer than two sizes."""
    sizes = np.array([run.images for run in runs], float)
    if len(np.unique(sizes)) < 2:
        return float("nan")
    seconds = np.array([max((run.cpu_seconds if cpu else run.seconds)[stage], 1e-6) for run in runs])
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def plot_growth(runs: Sequence[Measured], path: str | Path, *, title: str) -> None:
    """Draws seconds and peak memory against the number of images, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = [run.images for run in runs]
    for stage in (*STAGES, "after_search"):
        left.loglog(sizes, [max(run.seconds[stage], 1e-6) for run in runs], marker="o", label=stage)
    left.set(xlabel="images", ylabel="seconds", title=title)
    left.legend()
    right.loglog(sizes, [max(run.peak_mib, 0.1) for run in runs], marker="o", color="black")
    right.set(xlabel="images", ylabel="peak MiB beyond the features", title="memory")
    figure.savefig(path, dpi=120)


def stamp() -> dict[str, str]:
    """Where and when: processor, number of processors this process may use, and versions."""
    import os
    import platform

    import numba

    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": name,
        "threads": str(threads),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%d"),
    }
