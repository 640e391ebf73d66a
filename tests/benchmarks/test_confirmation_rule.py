"""How often the rule of a confirmation lets luck through, and finds what is there. `pytest -m bench -s FILE`.

Simulated sweeps of a base and three candidates. Each training's score is its true value plus normal noise of its own,
of equal spread, so that a pair's difference has sqrt(2) times that spread.
"""

import math
from statistics import mean

import numpy as np
import pytest

from tests.tune.report.test_verdict import confirmation
from tune.report.verdict import Verdict, verdict_of

pytestmark = pytest.mark.bench
SWEEPS = 20_000
PAIR = math.sqrt(2.0)
"""Standard deviation of a pair's difference."""


def verdicts(num_seeds: int, truth: float) -> list[Verdict]:
    """Of simulated sweeps whose first candidate is better by `truth` standard deviations of a pair's difference."""
    numbers = np.random.default_rng(num_seeds)
    found: list[Verdict] = []
    for _ in range(SWEEPS):
        scores = numbers.standard_normal((4, num_seeds))
        scores[1] += truth * PAIR
        found.append(verdict_of(confirmation(*scores.tolist(), seeds=tuple(range(num_seeds)))))
    return found


def plain(verdict: Verdict) -> bool:
    """Whether a candidate is ahead by two of its own standard errors."""
    return any(item.mean > 2 * item.error for item in verdict.differences)


@pytest.mark.parametrize(("num_seeds", "least_found"), [(3, 0.6), (5, 0.9)])
def test_luck_seldom_passes_and_a_clear_gain_mostly(num_seeds: int, least_found: float):
    nothing, gain = verdicts(num_seeds, 0.0), verdicts(num_seeds, 2.0)
    lucky = mean(verdict.winner is not None for verdict in nothing)
    right = mean(verdict.winner is not None and verdict.winner.candidate.trial == 0 for verdict in gain)
    print(
        f"\n{num_seeds} seeds: luck passes in {lucky:.1%} (two plain standard errors: {mean(map(plain, nothing)):.1%})"
    )
    print(f"{num_seeds} seeds: a difference of two standard deviations of a pair's is found in {right:.1%}")
    assert lucky < 0.1
    assert right > least_found
