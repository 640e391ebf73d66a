"""What a reader needs to look at an epoch's clusters: examples, their certainty, selected pairs and a map.

Nothing here is used by the training. Shape legend: N training images, D embedding size, C clusters, P selected pairs.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecul.data.dataset import ReidDataset
from ecul.types import ClusteringResult, FeatureBank, FloatArray, IntArray, Modality, group_ids

LARGEST, LEAST_CERTAIN, MIXED = "largest", "least certain", "both modalities"
_SHEETS_EACH = 6
_MEMBERS_SHOWN = 16
_PAIRS_SHOWN = 24
_MAP_IMAGES = 1500
_MAP_COMPONENTS = 30
_BLOCK = 4096  # rows of N x C similarities held at once


@dataclass(frozen=True)
class Sheet:
    """Examples of one cluster.

    Attributes:
        reason: why it is shown: `LARGEST`, `LEAST_CERTAIN` or `MIXED`.
        cluster: its label.
        members: positions of the images shown, ordered by modality and camera.
    """

    reason: str
    cluster: int
    members: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The clusters of one epoch, for a reader.

    Attributes:
        epoch: counted from 1.
        united: whether `label` is of the united clustering; otherwise of the two modalities' own.
        paths: image files relative to the dataset's folder, N of them.
        modality: int32 (N,).
        camera: int32 (N,).
        identity: int32 (N,), for the reader alone; negative where unknown.
        label: int32 (N,), dense over both modalities, -1 noise.
        margin: float32 (N,), similarity to the mean of the own cluster less the highest to another cluster's; nan for
            noise, and for all where there is one cluster only.
        sheets: clusters to look at.
        pairs: int32 (P, 2), selected pairs: visible image, infrared image.
        pair_distance: float32 (P,), 2 - 2 cosine similarity, in [0, 4].
        pairs_shown: int32, rows of `pairs` to look at, from near to far.
        map_image: int32 (M,), an even sample of the images.
        map_components: float32 (M, K), their first principal components.
    """

    epoch: int
    united: bool
    paths: tuple[str, ...]
    modality: IntArray
    camera: IntArray
    identity: IntArray
    label: IntArray
    margin: FloatArray
    sheets: tuple[Sheet, ...]
    pairs: IntArray
    pair_distance: FloatArray
    pairs_shown: IntArray
    map_image: IntArray
    map_components: FloatArray


def inspect_clusters(epoch: int, bank: FeatureBank, labels: ClusteringResult, dataset: ReidDataset) -> Inspection:
    """Returns what is to look at in an epoch's clusters.

    Args:
        epoch: counted from 1.
        bank: the training images' embeddings that were clustered.
        labels: the labels trained on.
        dataset: its training images; the identities are passed on to the reader.
    """
    samples = dataset.train.samples
    label = _shown_labels(labels, samples.modality)
    margin = cluster_margin(bank.features, label)
    pairs = np.empty((0, 2), np.int32) if labels.selected_pairs is None else labels.selected_pairs
    products = np.einsum("pd,pd->p", bank.features[pairs[:, 0]], bank.features[pairs[:, 1]])
    distance = np.clip(2 - 2 * products, 0, 4).astype(np.float32)
    near_to_far = np.argsort(distance, kind="stable").astype(np.int32)
    chosen = _evenly(len(bank), _MAP_IMAGES)
    return Inspection(
        epoch=epoch,
        united=labels.united_label is not None,
        paths=tuple(os.path.relpath(path, dataset.root) for path in samples.paths),
        modality=samples.modality,
        camera=samples.camera,
        identity=dataset.train.identity,
        label=label,
        margin=margin,
        sheets=choose_sheets(label, margin, samples.modality, samples.camera),
        pairs=pairs,
        pair_distance=distance,
        pairs_shown=near_to_far[_evenly(len(pairs), _PAIRS_SHOWN)],
        map_image=chosen,
        map_components=_principal_components(bank.features[chosen]),
    )


def cluster_margin(features: FloatArray, label: IntArray) -> FloatArray:
    """Similarity of each image to its cluster's mean less the highest to another cluster's mean, float32 (N,).

    Args:
        features: unit rows (N, D).
        label: int32 (N,), dense, -1 noise.

    Returns:
        Values in [-2, 2]; nan for noise, and everywhere with fewer than two clusters.
    """
    margin = np.full(len(label), np.nan, np.float32)
    num_clusters = int(label.max(initial=-1)) + 1
    if num_clusters < 2:
        return margin
    members = np.flatnonzero(label >= 0)
    members = members[np.argsort(label[members], kind="stable")]
    starts = np.searchsorted(label[members], np.arange(num_clusters))
    means = np.add.reduceat(features[members], starts, axis=0)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    for first in range(0, len(members), _BLOCK):
        rows = members[first : first + _BLOCK]
        similarity = features[rows] @ means.T
        place = np.arange(len(rows)), label[rows]
        own = similarity[place].copy()
        similarity[place] = -np.inf
        margin[rows] = own - similarity.max(axis=1)
    return margin


def choose_sheets(label: IntArray, margin: FloatArray, modality: IntArray, camera: IntArray) -> tuple[Sheet, ...]:
    """The clusters worth a look, each once: the largest, the least certain, and those with most of both modalities.

    Args:
        label: int32 (N,), dense, -1 noise.
        margin: of `cluster_margin`.
        modality: int32 (N,).
        camera: int32 (N,).
    """
    num_clusters = int(label.max(initial=-1)) + 1
    member = label >= 0
    sizes = np.bincount(label[member], minlength=num_clusters)
    sums = np.bincount(label[member], weights=margin[member], minlength=num_clusters)
    certainty = sums / np.maximum(sizes, 1)
    by_modality = [np.bincount(label[member & (modality == kind)], minlength=num_clusters) for kind in Modality]
    scarcer = np.minimum(*by_modality)
    orders = {
        LARGEST: np.argsort(-sizes, kind="stable"),
        LEAST_CERTAIN: np.argsort(certainty, kind="stable")[: np.count_nonzero(np.isfinite(certainty))],
        MIXED: np.argsort(-scarcer, kind="stable")[: np.count_nonzero(scarcer)],
    }
    sheets: list[Sheet] = []
    for reason, order in orders.items():
        taken = {sheet.cluster for sheet in sheets}
        for cluster in [int(cluster) for cluster in order if cluster not in taken][:_SHEETS_EACH]:
            sheets.append(Sheet(reason, cluster, _examples(np.flatnonzero(label == cluster), modality, camera)))
    return tuple(sheets)


def _examples(members: NDArray[np.intp], modality: IntArray, camera: IntArray) -> tuple[int, ...]:
    """Some members, of every modality and camera in turn, ordered by them."""
    group = group_ids(modality[members], camera[members])
    order = np.argsort(group, kind="stable")
    turn = np.concatenate([np.arange(count) for count in np.bincount(group)])  # the how manieth of its group
    shown = np.sort(np.lexsort((group[order], turn))[:_MEMBERS_SHOWN])
    return tuple(int(position) for position in members[order[shown]])


def _shown_labels(labels: ClusteringResult, modality: IntArray) -> IntArray:
    """The united labels; without them those inside each modality, numbered on."""
    if labels.united_label is not None:
        return labels.united_label
    infrared = (modality == Modality.INFRARED) & (labels.intra_label >= 0)
    return np.where(infrared, labels.intra_label + labels.num_visible_clusters, labels.intra_label).astype(np.int32)


def _principal_components(features: FloatArray) -> FloatArray:
    from sklearn.decomposition import PCA  # slow to import, and only rank 0 looks

    count = min(_MAP_COMPONENTS, *features.shape)
    found = PCA(count, svd_solver="randomized", random_state=0).fit_transform(features.astype(np.float64))
    return found.astype(np.float32)


def _evenly(size: int, count: int) -> IntArray:
    """At most `count` of `size` positions, evenly spaced, both ends among them."""
    return np.unique(np.linspace(0, size - 1, min(size, count)).round().astype(np.int32)) if size else _NONE


_NONE: IntArray = np.empty(0, np.int32)


def shown_images(inspection: Inspection) -> Sequence[int]:
    """Positions of all images that the sheets and pairs show, each once."""
    members = [position for sheet in inspection.sheets for position in sheet.members]
    return sorted({*members, *inspection.pairs[inspection.pairs_shown].ravel().tolist()})
