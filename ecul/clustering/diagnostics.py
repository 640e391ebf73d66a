"""Metrics of a clustering that need no identity. Those that do are `ecul.evaluation.cluster_quality`."""

from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.clustering.jaccard import jaccard_distance, overlaps
from ecul.clustering.sparse import SparseRows
from ecul.types import IntArray, group_ids, noise_as_singletons

SIZE_EDGES = (2, 4, 8, 16, 32, 64, 128)
SILHOUETTE_SAMPLE = 1000

Integers = NDArray[np.integer[Any]]


def describe_labels(labels: Integers, num_clusters: int, modality: Integers, camera: Integers) -> dict[str, float]:
    """Label-free metrics: clusters, noise, sizes, and how many clusters hold both modalities or several cameras.

    Args:
        labels: int32 (N,), dense, -1 noise.
        num_clusters: number of clusters.
        modality: int32 (N,).
        camera: int32 (N,).
    """
    member = labels >= 0
    sizes = np.bincount(labels[member], minlength=num_clusters)
    metrics = {
        "images": float(len(labels)),
        "clusters": float(num_clusters),
        "noise_share": float(1 - member.mean()) if len(labels) else 0.0,
        "mean_size": float(sizes.mean()) if num_clusters else 0.0,
        "largest_share": float(sizes.max() / len(labels)) if num_clusters else 0.0,
        "cross_modality_share": _spread_share(labels, num_clusters, modality),
        "multi_camera_share": _spread_share(labels, num_clusters, group_ids(modality, camera)),
    }
    edges = (0, *SIZE_EDGES, np.inf)
    for low, high in pairwise(edges):
        name = f"size_from_{low}"
        metrics[name] = float(np.count_nonzero((sizes >= low) & (sizes < high)))
    return metrics


def _spread_share(labels: Integers, num_clusters: int, kind: Integers) -> float:
    """Share of the clusters that hold more than one kind of image."""
    member = labels >= 0
    if not num_clusters:
        return 0.0
    pairs = np.unique(np.stack([labels[member], kind[member]], axis=1), axis=0)
    return float(np.count_nonzero(np.bincount(pairs[:, 0], minlength=num_clusters) > 1) / num_clusters)


@numba.njit(cache=True, nogil=True)
def _silhouettes(
    sample, labels, sizes, indptr, index, value, column_ptr, column_rows, column_value, total, touched, near, out
):
    for place in range(len(sample)):
        image = sample[place]
        count = overlaps(
            image, indptr, index, value, column_ptr, column_rows, column_value, len(column_rows), total, touched
        )
        for t in range(count):
            other = touched[t]
            if labels[other] >= 0 and other != image:
                near[labels[other]] += 1.0 - jaccard_distance(total[other])
        own, rest = labels[image], 0.0
        for t in range(count):
            other = touched[t]
            if labels[other] >= 0 and labels[other] != own:
                rest = max(rest, near[labels[other]] / sizes[labels[other]])
        within = 1.0 - near[own] / max(sizes[own] - 1, 1)
        between = 1.0 - rest
        if sizes[own] > 1 and max(within, between) > 0:
            out[place] = (between - within) / max(within, between)
        for t in range(count):
            total[touched[t]] = 0
            if labels[touched[t]] >= 0:
                near[labels[touched[t]]] = 0.0


def mean_silhouette(labels: IntArray, num_clusters: int, fused: SparseRows, inverted: SparseRows) -> float:
    """Mean silhouette on J, in [-1, 1], over an even sample of the clustered images; 0 with fewer than two clusters.

    The distances of the sampled images are exact, also those above eps.

    Args:
        labels: int32 (N,), dense, -1 noise; noise has no silhouette and counts for no cluster.
        num_clusters: number of clusters.
        fused: fused encodings of all images.
        inverted: its inverted index.
    """
    if num_clusters < 2:
        return 0.0
    members = np.flatnonzero(labels >= 0).astype(np.int32)
    sample = members[:: max(1, len(members) // SILHOUETTE_SAMPLE)]
    sizes = np.bincount(labels[members], minlength=num_clusters)
    out = np.zeros(len(sample))
    _silhouettes(
        sample, labels, sizes, fused.indptr, fused.index, fused.value, inverted.indptr, inverted.index, inverted.value,
        np.zeros(len(labels), np.int32), np.empty(len(labels), np.int32), np.zeros(num_clusters), out,
    )  # fmt: skip
    return float(out.mean())


def adjusted_rand_index(first: Integers, second: Integers) -> float:
    """Adjusted Rand index of two labelings, 1 when they agree; noise (-1) counts as clusters of one image each."""
    # imported here: it takes over a second, which a process that only imports the engine should not wait for
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(noise_as_singletons(first), noise_as_singletons(second)))
