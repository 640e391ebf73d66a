"""DBSCAN on a sparse graph of distances, in time linear in the graph.

Our own because it counts copies, keeps the partition when images are renumbered, and takes milliseconds where
scikit-learn's takes tenths of a second (docs/benchmarks.md).
"""

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.sparse import SparseRows
from ecul.types import IntArray


@numba.njit(cache=True, nogil=True)
def _components(indptr, index, value, eps, core, labels):
    """Labels the connected core points; returns how many clusters there are."""
    stack = np.empty(len(core), np.int32)
    clusters = 0
    for seed in range(len(core)):
        if labels[seed] >= 0 or not core[seed]:
            continue
        labels[seed] = clusters
        stack[0] = seed
        size = 1
        while size:
            size -= 1
            point = stack[size]
            for entry in range(indptr[point], indptr[point + 1]):
                other = index[entry]
                if value[entry] <= eps and core[other] and labels[other] < 0:
                    labels[other] = clusters
                    stack[size] = other
                    size += 1
        clusters += 1
    return clusters


@numba.njit(cache=True, nogil=True)
def _borders(indptr, index, value, eps, core, weight, labels):
    """Gives each point that is no core but lies near one to the heaviest cluster near it; ties to the nearest core."""
    for point in range(len(core)):
        if core[point]:
            continue
        best = np.int32(-1)
        nearest = eps
        for entry in range(indptr[point], indptr[point + 1]):
            other, distance = index[entry], value[entry]
            if distance > eps or not core[other]:
                continue
            label = labels[other]
            if best < 0 or weight[label] > weight[best] or (weight[label] == weight[best] and distance < nearest):
                best, nearest = label, distance
        labels[point] = best


@numba.njit(cache=True, nogil=True)
def _cores(indptr, index, value, eps, min_samples, copies):
    core = np.zeros(len(copies), np.bool_)
    for point in range(len(copies)):
        near = np.int64(0)
        for entry in range(indptr[point], indptr[point + 1]):
            if value[entry] <= eps:
                near += copies[index[entry]]
        core[point] = near >= min_samples
    return core


def dbscan_labels(
    graph: SparseRows,
    *,
    eps: float,
    min_samples: int,
    copies: IntArray | None = None,
    first: IntArray | None = None,
) -> tuple[IntArray, int]:
    """Labels (P,) and the number of clusters (ECUL, EMCC step 8, docs/method.md).

    Labels are dense, in order of each cluster's lowest core image; -1 is noise. A point that is no core and lies near
    cores of several clusters goes to the one with the most core images, then to that of the nearest core. (In
    scikit-learn it goes to the cluster that comes first in the order of the images.)

    Args:
        graph: all points' distances up to at least eps; the diagonal is stored.
        eps: largest distance of neighbours.
        min_samples: images within eps, the image itself and its copies included, that make a core.
        copies: int32 (P,), images of each point; None for one each.
        first: int32 (P,), the lowest image of each point; None for the point's number.
    """
    copies = np.ones(len(graph), np.int32) if copies is None else copies
    first = np.arange(len(graph), dtype=np.int32) if first is None else first
    limit = np.float32(eps)
    core = _cores(graph.indptr, graph.index, graph.value, limit, min_samples, copies)
    labels = np.full(len(graph), -1, np.int32)
    num_clusters = _components(graph.indptr, graph.index, graph.value, limit, core, labels)
    weight = np.bincount(labels[core], weights=copies[core], minlength=num_clusters).astype(np.int64)
    _borders(graph.indptr, graph.index, graph.value, limit, core, weight, labels)
    return _renumbered(labels, core, first, num_clusters), int(num_clusters)


def _renumbered(labels: IntArray, core: NDArray[np.bool_], first: IntArray, num_clusters: int) -> IntArray:
    """The labels in order of each cluster's lowest core image."""
    lowest = np.full(num_clusters, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, labels[core], first[core])
    number = np.full(num_clusters + 1, -1, np.int32)
    number[np.argsort(lowest)] = np.arange(num_clusters, dtype=np.int32)
    return number[labels]
