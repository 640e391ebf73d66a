"""Rank correlation with its interval."""

import math
from typing import Any

import numpy as np
from scipy.stats import spearmanr


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the rank correlation of two series (N,); nan where one is constant, about which scipy would warn."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    result: Any = spearmanr(first, second)
    return float(result.statistic)


def spearman_interval(correlation: float, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a rank correlation (Bonett and Wright, Psychometrika 65, 2000).

    Args:
        correlation: in [-1, 1], or nan.
        count: length of the series; the interval is nan for three and fewer.
    """
    if count <= 3 or math.isnan(correlation):
        return math.nan, math.nan
    # A perfect order counts as half an exchange of two neighbours away from it; otherwise the interval had no width.
    most = 1 - 6 / (count * (count**2 - 1))
    centre = math.atanh(max(-most, min(most, correlation)))
    width = 1.96 * math.sqrt((1 + correlation**2 / 2) / (count - 3))
    return math.tanh(centre - width), math.tanh(centre + width)
