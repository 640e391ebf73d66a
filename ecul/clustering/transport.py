"""Clusters of one modality each, joined across the modalities by optimal transport of their mean embeddings.

Source: optimal transport between the modalities as OTLA has it (Wang et al., ECCV 2022), here between clusters instead
of from images to classes (docs/method.md, "Links by transport").

Shape legend: V visible and I infrared clusters, N images, D embedding size.
"""

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ecul.clustering.diagnostics import describe_labels
from ecul.clustering.points import Points
from ecul.parameters import LinkParameters
from ecul.types import ClusteringResult, FeatureBank, IntArray, Modality

_OF_DISTANCES = ("united/silhouette", "united/stability")
_ITERATIONS = 200
_DECIMALS = 6
"""The last bits of exp and of matrix products differ between machines; shares are compared in so many decimals. Unlike
the neighbours, which exact integers decide, a share on the edge of a decimal may still fall differently."""
_FIXED_POINT = 2.0**30


def linked(result: ClusteringResult, points: Points, links: LinkParameters) -> ClusteringResult:
    """The result with united clusters that transport made, and what describes them; in stage 1 as it is."""
    if result.united_label is None:
        return result
    bank = points.bank
    images = FeatureBank(bank.features[points.point], bank.modality[points.point], bank.camera[points.point])
    counts = result.num_visible_clusters, result.num_infrared_clusters
    labels, number = joined_by_transport(images, result.intra_label, counts, links)
    kept = {name: value for name, value in result.diagnostics.items() if name not in _OF_DISTANCES}
    described = describe_labels(labels, number, images.modality, images.camera)
    diagnostics = kept | {f"united/{name}": value for name, value in described.items()}
    if result.selected_pairs is not None and len(result.selected_pairs):
        noise = labels[result.selected_pairs] < 0
        diagnostics["selection/noise_pair_share"] = float(noise.any(axis=1).mean())
    return replace(result, united_label=labels, num_united_clusters=number, diagnostics=diagnostics)


def joined_by_transport(
    bank: FeatureBank, intra_label: IntArray, counts: tuple[int, int], parameters: LinkParameters
) -> tuple[IntArray, int]:
    """Returns united labels int32 (N,), dense, -1 noise, and the number of united clusters.

    A visible and an infrared cluster are linked if each gives the other at least `parameters.share` of its mass in the
    transport plan. Clusters that links connect, over one or several steps, are one; those without any stay alone. An
    image in no cluster of its modality is in no united one.

    Args:
        bank: unit rows, centred as the united clustering wants them.
        intra_label: int32 (N,), clusters numbered within each modality, -1 noise.
        counts: V and I.
        parameters: temperature and share.
    """
    num_visible, num_infrared = counts
    number = intra_label + np.where(bank.modality == Modality.INFRARED, num_visible, 0).astype(np.int32)
    member = intra_label >= 0
    total = num_visible + num_infrared
    links = np.empty((0, 2), np.int64)
    if num_visible and num_infrared:
        means = _means(bank.features[member], number[member], total)
        size = np.bincount(number[member], minlength=total).astype(np.float64)
        plan = transport_plan(
            means[:num_visible] @ means[num_visible:].T,
            size[:num_visible] / size[:num_visible].sum(),
            size[num_visible:] / size[num_visible:].sum(),
            temperature=parameters.temperature,
        )
        links = np.argwhere(mutual_share(plan) >= parameters.share) + np.array([0, num_visible])
    edges = sp.coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(total, total))
    component = sp.csgraph.connected_components(edges, directed=False)[1]
    united = np.full(len(bank), -1, np.int32)
    found, dense = np.unique(component[number[member]], return_inverse=True)
    united[member] = dense.reshape(-1)
    return united, len(found)


def transport_plan(
    similarity: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64], *, temperature: float
) -> NDArray[np.float64]:
    """Returns the plan (V, I) of entropic optimal transport (Cuturi 2013): 200 steps of Sinkhorn's scaling.

    Args:
        similarity: (V, I), cosine similarities, in [-1, 1].
        rows: (V,), masses above 0 that sum to 1.
        columns: (I,), the same.
        temperature: weight of the entropy; smaller makes each row prefer fewer columns.
    """
    kernel = np.exp((similarity - 1.0) / temperature)
    left = np.ones(len(rows))
    right = columns / (kernel.T @ left)
    for _ in range(_ITERATIONS):
        left = rows / (kernel @ right)
        right = columns / (kernel.T @ left)
    return left[:, None] * kernel * right


def mutual_share(plan: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the smaller of an entry's shares of its row and of its column (V, I), in [0, 1]."""
    share = np.minimum(plan / plan.sum(axis=1, keepdims=True), plan / plan.sum(axis=0, keepdims=True))
    return np.round(share, _DECIMALS)


def _means(features: NDArray[np.float32], number: IntArray, total: int) -> NDArray[np.float64]:
    """Normalised means (total, D); sums of whole numbers, so that the order of the images changes no bit."""
    sums = np.zeros((total, features.shape[1]), np.int64)
    np.add.at(sums, number, np.rint(features * _FIXED_POINT).astype(np.int64))
    means = sums.astype(np.float64)
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1.0)
