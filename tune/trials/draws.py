"""Draws of the held-out people: a score's mean and spread over them, from one clustering.

Which people are held out decides a score as much as the settings do. So a trial is scored on several random halves of
them: the mean is what a sweep optimises, and the spread says how far a difference can be trusted. All trials of all
sweeps over the same people see the same draws, so that differences of trials are paired.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 20_251  # fixed: the draws must be the same for every trial
_FEWEST_PEOPLE = 4  # a half of fewer is one person

Positions = NDArray[np.integer[Any]]


def over_draws(
    score: Callable[[Positions], dict[str, float]], identity: NDArray[np.integer[Any]], draws: int
) -> dict[str, float]:
    """Returns each metric's mean over the draws, and its standard deviation as `NAME_std`.

    Args:
        score: metrics of some images, given by their positions.
        identity: int32 (N,), of the held-out people's images.
        draws: number of draws; 0, or fewer than four people, scores all images once, without a spread.
    """
    if not draws or len(np.unique(identity)) < _FEWEST_PEOPLE:
        return score(np.arange(len(identity)))
    drawn = [score(rows) for rows in _draw(identity, draws)]
    values = {name: np.array([metrics[name] for metrics in drawn]) for name in drawn[0]}
    spread = {f"{name}_std": float(value.std(ddof=1)) if draws > 1 else 0.0 for name, value in values.items()}
    return {name: float(value.mean()) for name, value in values.items()} | spread


def _draw(identity: NDArray[np.integer[Any]], draws: int) -> Iterator[Positions]:
    """Positions of the images of a random half of the people, once a draw."""
    people = np.unique(identity)
    rng = np.random.default_rng(_SEED)
    for _ in range(draws):
        half = rng.choice(people, size=len(people) // 2, replace=False)
        yield np.flatnonzero(np.isin(identity, half))
