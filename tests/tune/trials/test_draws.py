"""Scores over draws of the held-out people."""

import numpy as np
import pytest

from tests.tune.conftest import simulated_bank
from tune.trials.draws import over_draws
from tune.trials.features import score_bank

IDENTITY = np.repeat(np.arange(6), 3).astype(np.int32)


def test_a_draw_is_half_of_the_people_with_all_their_images():
    seen: list[list[int]] = []

    def score(rows):
        seen.append(IDENTITY[rows].tolist())
        return {"share": len(rows) / len(IDENTITY)}

    assert over_draws(score, IDENTITY, 8) == {"share": 0.5, "share_std": 0.0}
    assert all(sorted(drawn) == sorted(3 * sorted(set(drawn))) and len(set(drawn)) == 3 for drawn in seen)
    assert len({tuple(drawn) for drawn in seen}) > 1
    again = list(seen)
    over_draws(score, IDENTITY, 8)
    assert seen[8:] == again  # another trial is scored on the same people


def test_mean_and_spread_by_hand():
    values = iter([1.0, 2.0, 6.0])
    assert over_draws(lambda rows: {"score": next(values)}, IDENTITY, 3) == {
        "score": 3.0,
        "score_std": pytest.approx(7**0.5),
    }


@pytest.mark.parametrize(("identity", "draws"), [(IDENTITY, 0), (IDENTITY[:9], 5)])
def test_few_people_or_no_draws_score_everyone_once(identity, draws):
    assert over_draws(lambda rows: {"images": float(len(rows))}, identity, draws) == {"images": float(len(identity))}


def test_a_trial_records_the_spread_of_its_objectives(tiny_config):
    bank = simulated_bank()
    once, drawn = (score_bank(bank, tiny_config(), draws=draws, intra=True, num_threads=1) for draws in (0, 10))
    scores = {name for name in once if name.startswith("validation_") and name != "validation_clusters"}
    assert {f"{name}_std" for name in scores} <= set(drawn)
    assert all(0 <= drawn[name] <= 1 and drawn[f"{name}_std"] >= 0 for name in scores)
    assert drawn["validation_clusters"] == once["validation_clusters"]
