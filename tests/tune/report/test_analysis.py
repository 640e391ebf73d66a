import math

import optuna
import pytest

from tests.tune.report.conftest import COST, SCORE, SPACE
from tune.report.analysis import analyse, importance, rank_agreement
from tune.report.markdown import report_text


def test_ranks_importance_and_agreement_of_a_known_score(study):
    findings = analyse(study, SPACE, [SCORE])
    scores = [row.metrics["validation_map"] for row in findings.ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(findings.rows) == 30
    assert len(findings.ranked) == 29
    assert max(findings.importance, key=findings.importance.__getitem__) == "clustering.united.eps"
    assert findings.importance["clustering.united.eps"] > 0.8
    # it does not exist in every trial, and counts all the same
    assert 0 <= findings.importance["clustering.united.k3"] < 0.1
    assert sum(findings.importance.values()) == pytest.approx(1)
    assert findings.conditional == ["clustering.united.k3"]
    agreement = {item.signal: item for item in findings.agreement}
    assert agreement["stability"].spearman == pytest.approx(1)
    assert agreement["silhouette"].spearman == pytest.approx(-1)
    assert math.isnan(agreement["clustered_share"].spearman)
    assert agreement["stability"].picked == scores[0]
    assert agreement["stability"].tied == 1
    # a constant signal picks all of them
    assert agreement["clustered_share"].tied == 29
    assert agreement["clustered_share"].picked == pytest.approx(sum(scores) / 29)
    assert findings.agreement[0].signal == "stability"


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        (3, math.nan, math.nan),
        (5, 0.1, 1.0),  # even a perfect order of five trials says little
        (29, 0.99, 1.0),
    ],
)
def test_a_correlation_is_shown_with_how_little_it_is_known(study, count, low, high):
    rows = analyse(study, SPACE, [SCORE]).ranked[:count]
    (found,) = (item for item in rank_agreement(rows, "validation_map") if item.signal == "stability")
    assert found.spearman == pytest.approx(1)
    assert found.interval == pytest.approx((low, high), abs=0.1, nan_ok=True)
    assert not found.interval[0] >= found.interval[1]


def test_the_front_is_what_nothing_beats(study):
    findings = analyse(study, SPACE, [SCORE, COST])
    points = [(-row.metrics["validation_map"], row.metrics["clustering_seconds"]) for row in findings.ranked]
    front = {(-row.metrics["validation_map"], row.metrics["clustering_seconds"]) for row in findings.front}
    for point in points:
        beaten = any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)
        assert (point in front) != beaten


def test_too_few_trials_give_no_importance(study):
    findings = analyse(study, SPACE, [SCORE])
    assert importance(findings.ranked[:4], SPACE, SCORE) == {}
    assert (
        rank_agreement(findings.ranked[:1], "validation_map")[0].picked == findings.ranked[0].metrics["validation_map"]
    )


def test_rank_agreement_of_a_single_trial_is_unknown(study):
    (first, *_) = rank_agreement(analyse(study, SPACE, [SCORE]).ranked[:1], "validation_map")
    assert math.isnan(first.spearman)


def test_one_objective_has_no_front(study):
    assert analyse(study, SPACE, [SCORE]).front == []


def test_trials_outside_the_limits_are_apart_and_never_best(study):
    best = analyse(study, SPACE, [SCORE]).ranked[0]
    kept = study.trials
    kept[best.number].system_attrs["constraints:noise_share <= 0.5"] = 0.2
    again = optuna.create_study(directions=study.directions)
    again.add_trials(kept)
    findings = analyse(again, SPACE, [SCORE])
    assert [row.number for row in findings.outside] == [best.number]
    assert findings.outside[0].exceeded == ("noise_share <= 0.5",)
    assert best.number not in {row.number for row in findings.ranked}
    text = report_text(findings, title="sweep")
    assert "Not kept: noise_share <= 0.5 by 1." in text
    assert text.index("Best trials") < text.index("Outside the limits")
