"""When a candidate beats the base, and what the first line of a report then says."""

import math

import numpy as np
import pytest

from tune.report.verdict import NOTHING, confirmation_text, headline, score_rows, verdict_of
from tune.study.confirmation import Candidate, Confirmation


def confirmation(base, *candidates, mode="max", failed=(), seeds=(1, 2, 3)):
    """A confirmation with the given scores by seed; None is a run that is not complete."""
    names = ["base", *(f"trial{number}" for number in range(len(candidates)))]
    runs = dict(zip(names, (base, *candidates), strict=True))
    return Confirmation(
        metric="validation_map",
        mode=mode,
        seeds=seeds,
        top=3,
        candidates=[Candidate(trial=number, values={"x": number}) for number in range(len(candidates))],
        keys={name: {seed: f"{name}-{seed}" for seed in seeds} for name in runs},
        scores={
            name: {seed: score for seed, score in zip(seeds, scores, strict=True) if score is not None}
            for name, scores in runs.items()
        },
        failed=dict.fromkeys(failed, "it broke"),
    )


def test_one_candidate_needs_students_quantile_of_its_standard_errors():
    # ahead by .05, .06, .07: mean .06, standard deviation .01, error .01 / sqrt(3); t(2) at 97.5 % is 4.3027
    found = verdict_of(confirmation([0.5, 0.5, 0.5], [0.55, 0.56, 0.57]))
    assert found.quantile == pytest.approx(4.3027, abs=1e-4)
    assert found.needed == pytest.approx(4.3027 * 0.01 / math.sqrt(3), abs=1e-6)
    assert found.winner is not None
    assert found.winner.mean == pytest.approx(0.06)


def test_differences_are_paired_by_seed():
    # seeds differ by far more than the two configurations, which differ alike with each of them
    assert verdict_of(confirmation([0.2, 0.5, 0.8], [0.21, 0.512, 0.811])).winner is not None
    assert verdict_of(confirmation([0.2, 0.5, 0.8], [0.512, 0.811, 0.21])).winner is None


def test_the_spread_is_that_of_all_candidates_that_are_ahead_and_of_no_other():
    steady, wild = [0.55, 0.55, 0.56], [0.1, 0.9, 0.3]  # the second is behind
    alone = verdict_of(confirmation([0.5, 0.5, 0.5], steady))
    beside = verdict_of(confirmation([0.5, 0.5, 0.5], steady, wild))
    assert beside.needed == alone.needed
    two = verdict_of(confirmation([0.5, 0.5, 0.5], steady, [0.51, 0.53, 0.49]))
    errors = [item.error for item in two.differences]
    assert two.needed == pytest.approx(2.7764 * math.sqrt((errors[0] ** 2 + errors[1] ** 2) / 2), abs=1e-5)  # t(4)


def test_of_two_that_win_the_one_furthest_ahead_is_taken():
    found = verdict_of(confirmation([0.5, 0.5, 0.5], [0.55, 0.55, 0.56], [0.65, 0.66, 0.65]))
    assert found.winner is not None
    assert found.winner.candidate.trial == 1


def test_less_wins_where_less_is_better():
    slow, fast = [9.0, 9.1, 9.0], [4.0, 4.1, 4.0]
    assert verdict_of(confirmation(slow, fast, mode="min")).winner is not None
    assert verdict_of(confirmation(slow, fast, mode="max")).winner is None


@pytest.mark.parametrize("failed", ["base", "trial0"])
def test_a_candidate_without_all_pairs_cannot_win(failed):
    scores = {"base": [0.5, 0.5, 0.5], "trial0": [0.9, 0.91, 0.9]}
    scores[failed][1] = None
    found = confirmation(*scores.values(), failed=[f"{failed}-2"])
    assert verdict_of(found).winner is None
    line = headline(found, outdated=False)
    assert (line.short, line.winner) == (NOTHING, None)
    assert "failed" in line.numbers
    assert f"{failed}-2 failed: it broke" in confirmation_text(found)


def test_without_a_true_difference_few_sweeps_find_one():
    rng = np.random.default_rng(0)
    wins = 0
    for _ in range(400):
        scores = rng.normal(0.5, 0.03, size=(4, 3)).tolist()
        wins += verdict_of(confirmation(*scores)).winner is not None
    assert wins / 400 < 0.1  # .07 in 20,000


def test_the_first_line_says_who_won_or_that_nothing_did_with_the_numbers():
    won = headline(confirmation([0.5, 0.5, 0.5], [0.55, 0.56, 0.57]), outdated=False)
    assert won.short == "trial 0 beats the base"
    assert won.numbers == "validation_map +0.0600, needs 0.0248; base 0.5000, seeds 1, 2, 3"
    assert won.winner is not None
    lost = headline(confirmation([0.5, 0.5, 0.5], [0.45, 0.56, 0.57]), outdated=False)
    assert lost.short == NOTHING
    assert lost.numbers.startswith("the best candidate, trial 0: validation_map +0.0267, needs 0.1")
    behind = headline(confirmation([0.5, 0.5, 0.5], [0.4, 0.4, 0.5]), outdated=False)
    assert behind.numbers == "the best candidate, trial 0: validation_map -0.0667; base 0.5000, seeds 1, 2, 3"


def test_what_is_not_at_its_end_confirms_nothing():
    better = [0.55, 0.56, 0.57]
    waiting = "not confirmed yet, so best.yaml is the base"
    for found, outdated, reason in (
        (None, False, "the search comes first"),
        (confirmation([0.5, 0.5, 0.5], better), True, "found other candidates"),
        (confirmation([0.5, None, 0.5], better), False, "5 of 6 trainings are complete"),
    ):
        line = headline(found, outdated=outdated)
        assert (line.short, line.winner) == (waiting, None)
        assert reason in line.numbers
    assert headline(_without_candidates(), outdated=False).short == NOTHING


def _without_candidates() -> Confirmation:
    return Confirmation(
        metric="validation_map", mode="max", seeds=[], top=3, candidates=[], keys={}, scores={}, failed={}
    )


def test_the_table_has_each_run_and_marks_what_is_missing():
    found = confirmation([0.5, None, 0.5], [0.55, 0.56, None], failed=["trial0-3"])
    columns, rows = score_rows(found)
    assert columns == ["", "seed 1", "seed 2", "seed 3", "mean ± std", "ahead by", "standard error"]
    assert rows[0][:4] == ["base", "0.5000", "-", "0.5000"]
    assert rows[1][:4] == ["trial0", "0.5500", "0.5600", "failed"]
