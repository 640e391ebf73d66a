"""True labels in place of found ones, for ablations: how far a run would get if one of its clusterings were right.

A run with an oracle is no unsupervised training. Only `ecul.engine.fit` may import this module (import-linter), only a
file in configs/ablation can ask for it (`ecul.settings.load_config`), and every record of the run says so.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ecul.clustering.diagnostics import describe_labels
from ecul.engine.interfaces import ClusteringFn
from ecul.names import Oracle
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, IntArray, LabelledIndex, Modality


def with_true_labels(clustering_fn: ClusteringFn, oracle: Oracle, index: LabelledIndex) -> ClusteringFn:
    """Returns a clustering whose result has true labels where the oracle puts them.

    Args:
        clustering_fn: finds labels; it is called all the same.
        oracle: which labels are true (`ecul.names.Oracle`).
        index: the training images, in the order of the feature bank.
    """

    def told(bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        return corrected(clustering_fn(bank, request), oracle, index)

    return told


def corrected(result: ClusteringResult, oracle: Oracle, index: LabelledIndex) -> ClusteringResult:
    """Returns found pseudo-labels with true ones in the oracle's places; diagnostics of the clusters follow.

    Args:
        result: what was found for N images.
        oracle: which labels become true.
        index: the images with their true identities.
    """
    identity, modality, camera = index.identity, index.samples.modality, index.samples.camera
    if len(identity) != len(result.intra_label):
        raise ValueError(f"got {len(identity)} identities for {len(result.intra_label)} images")
    if oracle in ("intra", "all"):
        result = _with_intra(result, identity, modality, camera)
    if oracle != "intra" and result.united_label is not None:
        united = {"links": split_by_person, "completed": completed}.get(oracle, _true_labels)
        result = _with_united(result, united(result.united_label, identity), modality, camera)
        if oracle != "completed" and result.selected_pairs is not None:
            pairs = result.selected_pairs
            right = identity[pairs[:, 0]] == identity[pairs[:, 1]]
            result = replace(result, selected_pairs=pairs[right])
    return result


def split_by_person(labels: IntArray, identity: IntArray) -> IntArray:
    """Returns clusters (N,) without wrong links: each is parted by person; noise (-1) stays noise."""
    member = labels >= 0
    pairs = np.stack([labels[member], identity[member]], axis=1)
    parted = np.full(len(labels), -1, np.int32)
    parted[member] = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    return parted


def completed(labels: IntArray, identity: IntArray) -> IntArray:
    """Returns clusters (N,) that lack nobody, with all wrong links kept.

    A cluster belongs to the person whom most of its images show (of equals, to the one with the lower number). Clusters
    of one person become one, and noise images of a person who has a cluster join it.
    """
    member = labels >= 0
    people, person = np.unique(identity, return_inverse=True)
    table = np.zeros((labels.max(initial=-1) + 1, len(people)), np.int64)
    np.add.at(table, (labels[member], person[member]), 1)
    owner = table.argmax(axis=1)
    joined = np.where(np.isin(person, owner), person, -1)
    joined[member] = owner[labels[member]]
    return _dense(joined)


def _true_labels(labels: IntArray, identity: IntArray) -> IntArray:
    return _dense(identity)


def _dense(labels: NDArray[np.integer]) -> IntArray:
    """The labels numbered from 0 without gaps; -1 stays."""
    member = labels >= 0
    dense = np.full(len(labels), -1, np.int32)
    dense[member] = np.unique(labels[member], return_inverse=True)[1]
    return dense


def _with_intra(result: ClusteringResult, identity: IntArray, modality: IntArray, camera: IntArray) -> ClusteringResult:
    labels, counts = result.intra_label.copy(), list[int]()
    diagnostics = dict(result.diagnostics)
    for kind in Modality:
        side = modality == kind
        labels[side] = _dense(identity[side])
        counts.append(int(labels[side].max(initial=-1)) + 1)
        diagnostics |= _described(f"{kind.name.lower()}/", labels[side], counts[-1], modality[side], camera[side])
    return replace(
        result,
        intra_label=labels,
        num_visible_clusters=counts[Modality.VISIBLE],
        num_infrared_clusters=counts[Modality.INFRARED],
        diagnostics=diagnostics,
    )


def _with_united(result: ClusteringResult, labels: IntArray, modality: IntArray, camera: IntArray) -> ClusteringResult:
    count = int(labels.max(initial=-1)) + 1
    diagnostics = {**result.diagnostics, **_described("united/", labels, count, modality, camera)}
    return replace(result, united_label=labels, num_united_clusters=count, diagnostics=diagnostics)


def _described(part: str, labels: IntArray, count: int, modality: IntArray, camera: IntArray) -> dict[str, float]:
    """The label-free metrics of the labels that the run trains on, in place of those of the found ones."""
    return {f"{part}{name}": value for name, value in describe_labels(labels, count, modality, camera).items()}
