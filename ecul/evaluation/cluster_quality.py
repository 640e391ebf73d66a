"""How well pseudo-labels agree with identities. Reported only: the clustering cannot import this."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.types import Modality, noise_as_singletons

Integers = NDArray[np.integer[Any]]


def _pairs(*columns: Integers) -> float:
    """Pairs of images with equal numbers in all columns."""
    rows = np.stack(columns, axis=1).astype(np.int64)
    counts = np.unique(rows, axis=0, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


def _cross_pairs(rows: Integers, columns: Integers, modality: Integers) -> float:
    """Pairs of a visible and an infrared image with equal row and equal column number."""
    code = np.stack([rows, columns], axis=1).astype(np.int64)
    cells, number = np.unique(code, axis=0, return_inverse=True)
    number = number.reshape(-1)
    visible = np.bincount(number[modality == Modality.VISIBLE], minlength=len(cells)).astype(np.float64)
    infrared = np.bincount(number[modality != Modality.VISIBLE], minlength=len(cells)).astype(np.float64)
    return float((visible * infrared).sum())


def label_quality(labels: Integers, identity: Integers, modality: Integers) -> dict[str, float]:
    """Agreement with identities, for reports only: no decision may rest on it (docs/method.md, "Honesty").

    Linear in N up to sorting; no pair is ever listed.

    Args:
        labels: (N,), -1 noise.
        identity: (N,).
        modality: (N,), values of `Modality`.

    Returns:
        `ari` and `nmi` (noise images as clusters of one), `pair_precision` and `pair_recall` over pairs of images in
        one cluster, `cross_precision` and `cross_recall` over those pairs of which one image is visible and the other
        infrared. A precision without pairs is 0.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score  # slow to import

    single = noise_as_singletons(labels)
    member = labels >= 0
    clustered, people, kinds = labels[member], identity[member], modality[member]
    nothing, everyone = np.zeros_like(clustered), np.zeros_like(identity)
    right, made, true = _pairs(clustered, people), _pairs(clustered), _pairs(identity)
    cross_right = _cross_pairs(clustered, people, kinds)
    cross_made = _cross_pairs(clustered, nothing, kinds)
    cross_true = _cross_pairs(identity, everyone, modality)
    return {
        "ari": float(adjusted_rand_score(identity, single)),
        "nmi": float(normalized_mutual_info_score(identity, single)),
        "pair_precision": right / max(made, 1),
        "pair_recall": right / max(true, 1),
        "cross_precision": cross_right / max(cross_made, 1),
        "cross_recall": cross_right / max(cross_true, 1),
    }
