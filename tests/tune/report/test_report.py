import math

import numpy as np
import optuna
import pytest
from scipy.stats import spearmanr

from tune.config import ObjectiveConfig
from tune.report.analysis import analyse, importance, rank_agreement, spearman
from tune.report.markdown import report_text, table, trials_columns, trials_rows
from tune.report.plots import draw_all
from tune.space.search_space import Choice, Numeric, SearchSpace

SPACE = SearchSpace(
    {
        "clustering.preset": Choice(("emcc", "kreciprocal")),
        "clustering.k2": Numeric(2, 16, True),
        "clustering.k3": Numeric(4, 40, True),
        "clustering.eps": Numeric(0.3, 0.8),
    },
    {"clustering.k3": {"clustering.preset": ("emcc",)}},
)
SCORE, COST = ObjectiveConfig(metric="validation_map"), ObjectiveConfig(metric="clustering_seconds", mode="min")


@pytest.fixture
def study():
    """The score depends on eps alone; stability follows it, silhouette runs against it."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), directions=["maximize", "minimize"])
    for number in range(30):
        trial = study.ask()
        values = SPACE.sample(trial)
        score = 1 - abs(values["clustering.eps"] - 0.5)
        trial.set_user_attr("values", values)
        if number == 7:
            trial.set_user_attr("error", "ValueError: a broken trial")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        metrics = {
            "validation_map": score,
            "clustering_seconds": float(values["clustering.k2"]),
            "stability": score**2,
            "silhouette": -score,
            "clustered_share": 1.0,
        }
        trial.set_user_attr("metrics", metrics)
        study.tell(trial, [score, metrics["clustering_seconds"]])
    return study


def test_ranks_importance_and_agreement_of_a_known_score(study):
    findings = analyse(study, SPACE, [SCORE])
    scores = [row.metrics["validation_map"] for row in findings.ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(findings.rows) == 30
    assert len(findings.ranked) == 29
    assert max(findings.importance, key=findings.importance.__getitem__) == "clustering.eps"
    assert findings.importance["clustering.eps"] > 0.8
    # it does not exist in every trial
    assert "clustering.k3" not in findings.importance
    agreement = {item.signal: item for item in findings.agreement}
    assert agreement["stability"].spearman == pytest.approx(1)
    assert agreement["silhouette"].spearman == pytest.approx(-1)
    assert math.isnan(agreement["clustered_share"].spearman)
    assert agreement["stability"].picked == scores[0]
    assert findings.agreement[0].signal == "stability"


def test_the_front_is_what_nothing_beats(study):
    findings = analyse(study, SPACE, [SCORE, COST])
    points = [(-row.metrics["validation_map"], row.metrics["clustering_seconds"]) for row in findings.ranked]
    front = {(-row.metrics["validation_map"], row.metrics["clustering_seconds"]) for row in findings.front}
    for point in points:
        beaten = any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)
        assert (point in front) != beaten


def test_rank_correlation_is_spearmans():
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 5, 40).astype(float), generator.normal(size=40)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert math.isnan(spearman(np.ones(4), second[:4]))


def test_too_few_trials_give_no_importance(study):
    findings = analyse(study, SPACE, [SCORE])
    assert importance(findings.ranked[:4], SPACE, "validation_map") == {}
    assert (
        rank_agreement(findings.ranked[:1], "validation_map")[0].picked == findings.ranked[0].metrics["validation_map"]
    )


def test_few_trials_judge_no_signal_and_those_stopped_early_are_shown(study):
    few = optuna.create_study(directions=["maximize"])
    for trial in study.trials[:6]:
        few.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE if trial.number < 4 else optuna.trial.TrialState.PRUNED,
                value=trial.values[0],
                user_attrs=trial.user_attrs,
            )
        )
    text = report_text(analyse(few, SPACE, [SCORE]), title="Sweep x")
    assert "6 trials: 4 complete, 2 stopped early" in text
    assert "Too few complete trials to tell: 4." in text
    assert "| PRUNED |" in text


def test_the_report_names_the_best_and_the_broken(study):
    findings = analyse(study, SPACE, [SCORE])
    text = report_text(findings, title="Sweep x", top=3)
    assert "30 trials: 29 complete, 1 failed" in text
    assert "a broken trial" in text
    assert "rank correlation" in text
    assert text.count("COMPLETE") == 3


def test_tables_hold_a_row_a_trial(study):
    findings = analyse(study, SPACE, [SCORE])
    rows = trials_rows(findings, findings.rows)
    assert len(rows) == 30
    assert all(len(row) == len(trials_columns(findings)) for row in rows)
    assert table(["a", "bb"], [["1", "2"]]).splitlines()[1] == "| - | -- |"


def test_pictures_are_drawn(study, tmp_path):
    findings = analyse(study, SPACE, [SCORE, COST])
    names = {path.stem for path in draw_all(findings, SPACE, tmp_path)}
    assert names == {"history", "parallel", "slices", "k2-k3", "front", "label-free"}
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())


def test_a_study_without_trials_has_an_empty_report(tmp_path):
    findings = analyse(optuna.create_study(direction="maximize"), SPACE, [SCORE])
    assert "0 trials: none" in report_text(findings, title="Sweep x")
    assert draw_all(findings, SPACE, tmp_path) == []
