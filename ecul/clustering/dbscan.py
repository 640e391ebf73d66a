"""DBSCAN on a sparse graph of distances: scikit-learn's labels, in time linear in the graph."""

import numba
import numpy as np

from ecul.clustering.sparse import SparseRows
from ecul.types import IntArray


@numba.njit(cache=True, nogil=True)
def _dbscan(indptr, index, value, eps, min_samples, labels):
    num_images = len(indptr) - 1
    core = np.zeros(num_images, np.bool_)
    for image in range(num_images):
        near = 0
        for entry in range(indptr[image], indptr[image + 1]):
            near += value[entry] <= eps
        core[image] = near >= min_samples
    stack = np.empty(num_images, np.int32)
    clusters = 0
    for seed in range(num_images):
        if labels[seed] >= 0 or not core[seed]:
            continue
        labels[seed] = clusters
        stack[0] = seed
        size = 1
        while size:
            size -= 1
            image = stack[size]
            for entry in range(indptr[image], indptr[image + 1]):
                other = index[entry]
                if value[entry] <= eps and labels[other] < 0:
                    labels[other] = clusters
                    if core[other]:
                        stack[size] = other
                        size += 1
        clusters += 1
    return clusters


def dbscan_labels(graph: SparseRows, *, eps: float, min_samples: int) -> tuple[IntArray, int]:
    """Labels (N,) and the number of clusters (ECUL, EMCC step 7, docs/method.md).

    Labels are dense, in order of each cluster's first core image; -1 is noise. An image that is no core and lies near
    cores of several clusters goes to the first of them, as in scikit-learn.

    Args:
        graph: all images' distances up to at least eps; the diagonal is stored.
        eps: largest distance of neighbours.
        min_samples: images within eps, the image itself included, that make it a core.
    """
    labels = np.full(len(graph), -1, np.int32)
    clusters = _dbscan(graph.indptr, graph.index, graph.value, np.float32(eps), min_samples, labels)
    return labels, int(clusters)
