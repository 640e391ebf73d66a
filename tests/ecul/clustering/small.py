"""Every preset, and variants, with numbers for some hundred images, and features by angle; used by several files."""

from typing import Any

import numpy as np

from ecul.types import ClusteringParameters

PRESETS: dict[str, dict[str, Any]] = {
    "kreciprocal": {"k1": 12, "k2": 4},
    "modality_balanced": {"k1": 12, "k2": 6},
    "balanced_neighbours": {"k1": 12, "k2": 3},
    "camera_aware": {"k1_intra": 4, "k1_inter": 9, "k2_intra": 2, "k2_inter": 3},
    "emcc": {"k1": 5, "k2": 3, "k3": 6, "groups": "modality_camera"},
    "camera_quota": {"k1": 12, "k2": 2, "k3": 8},
    "camera_window": {"k1": 12, "k2": 6},
    "emcc, window by groups": {"k1": 5, "k2": 2, "k3": 9, "reading": "window", "reciprocal": "groups"},
    "emcc, groups over all": {"k1": 12, "k2": 2, "k3": 5, "reciprocal": "all", "balance": "modalities"},
}
"""By name; what follows a comma only tells variants of a preset apart."""


def parameters(preset: str, *, eps: float = 0.6) -> ClusteringParameters:
    return ClusteringParameters(preset=preset.partition(",")[0], eps=eps, min_samples=4, **PRESETS[preset])


def angles(*degrees: float) -> np.ndarray:
    """Unit rows (N, 2) at these angles."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def same_lists(first, second):
    """Asserts equal neighbour lists, bit for bit."""
    np.testing.assert_array_equal(first.index, second.index)
    np.testing.assert_array_equal(first.distance, second.distance)
