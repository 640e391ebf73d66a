import time

import pytest
from optuna.trial import TrialState
from ray.tune.search.searcher import Searcher

from tests.tune.study.conftest import SPACE, result, searcher
from tune.config import LimitConfig, SamplerConfig
from tune.space.domains import Choice, Numeric
from tune.space.search_space import SearchSpace
from tune.study.record import TrialRow, trial_key
from tune.study.search import StudySearch
from tune.study.store import make_sampler, open_study, own_trials, requeue_failed, requeue_interrupted
from tune.trials.training import MOST_LOSSES


def test_trials_stopped_early_are_pruned_and_those_that_raise_failed(study):
    search = searcher(study)
    for name in "abc":
        search.suggest(name)
    search.on_trial_result("a", result(0.3, epoch=2))
    search.on_trial_complete("a", result(0.3, finished=False))
    search.on_trial_result("b", result(0.9, epoch=2))
    search.on_trial_complete("b", error=True)
    search.record_error("b", "it broke")
    search.on_trial_complete("c", result(float("nan")))
    a, b, c = study.trials
    assert (a.state, a.intermediate_values, a.user_attrs["metrics"]) == (TrialState.PRUNED, {2: 0.3}, {"score": 0.3})
    assert (b.state, b.user_attrs["error"]) == (TrialState.FAIL, "it broke")
    assert c.state == TrialState.FAIL
    assert "not finite" in c.user_attrs["error"]
    assert "values" in b.user_attrs


def test_trials_cut_off_by_the_time_limit_stay_open_for_a_resume(study):
    search = searcher(study, deadline=time.monotonic() - 1)
    search.suggest("a")
    search.on_trial_complete("a", result(0.3, finished=False))
    search.suggest("b")
    search.on_trial_complete("b", result(0.4))
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING, TrialState.COMPLETE]
    assert requeue_interrupted(study) == 1


def test_several_objectives_are_told_in_the_studys_order_and_have_no_intermediate_values(tmp_path):
    study = open_study(tmp_path, "journal", "sweep", ["max", "min"])
    search = StudySearch(SPACE, study, ["score", "cost"])
    search.suggest("a")
    both = {"metrics/score": 0.5, "metrics/cost": 3.0, "finished": True}
    search.on_trial_result("a", both | {"epoch": 1})
    search.on_trial_complete("a", both)
    (trial,) = study.trials
    assert (trial.values, trial.intermediate_values) == ([0.5, 3.0], {})


def test_an_objective_that_is_missing_fails_the_trial(study):
    search = searcher(study)
    search.suggest("a")
    search.on_trial_complete("a", {"metrics/other": 1.0, "finished": True})
    assert study.trials[0].state == TrialState.FAIL
    assert "not finite: {'score': nan}" in study.trials[0].user_attrs["error"]


def test_a_trial_whose_process_was_lost_is_queued_again_under_its_key_until_it_was_lost_too_often(study):
    search = searcher(study)
    drawn = search.suggest("a")
    for name in "abc"[:MOST_LOSSES]:
        assert search.repeat_lost(name, "the actor died")
        assert own_trials(study) == []  # it does not count as done
        assert search.must_repeat()
        following = chr(ord(name) + 1)
        assert search.suggest(following) == drawn
        assert not search.must_repeat()
    assert not search.repeat_lost(following, "the actor died")
    search.record_error(following, "the actor died")
    (failed,) = own_trials(study)
    assert (failed.state, trial_key(failed)) == (TrialState.FAIL, "00000")
    assert len(study.trials) == MOST_LOSSES + 1


def test_a_session_without_lost_trials_is_not_repeated(study):
    search = searcher(study)
    search.suggest("a")
    search.record_error("a", "it broke")
    assert not search.must_repeat()
    # cut off, by Ctrl-C for example: the lost one waits for a resume
    search.suggest("b")
    search.suggest("c")
    search.repeat_lost("b", "the actor died")
    assert not search.must_repeat()


def test_failed_trials_are_tried_again_when_asked_for(study):
    search = searcher(study)
    failed = search.suggest("a")
    search.record_error("a", "it broke")
    search.suggest("b")
    search.on_trial_complete("b", result(0.4))
    assert requeue_failed(study) == 1
    assert [trial.state for trial in own_trials(study)] == [TrialState.COMPLETE]
    assert search.suggest("c") == failed
    search.on_trial_complete("c", result(0.5))
    assert requeue_failed(study) == 0
    assert [trial.value for trial in own_trials(study)] == [0.4, 0.5]


NOISE, BOTH = LimitConfig(metric="noise_share", most=0.5), LimitConfig(metric="cross_modality_share", least=0.2)


def measured(score, **metrics):
    return {"metrics/score": score, **{f"metrics/{name}": value for name, value in metrics.items()}, "finished": True}


def test_limits_are_kept_as_constraints_of_the_study(study):
    search = searcher(study, limits=[NOISE, BOTH])
    for name, noise, share in (("a", 0.5, 0.2), ("b", 0.7, 0.3), ("c", 0.1, 0.1)):
        search.suggest(name)
        search.on_trial_complete(name, measured(0.3, noise_share=noise, cross_modality_share=share))
    rows = [TrialRow.of(trial) for trial in own_trials(study)]
    assert [row.state for row in rows] == ["COMPLETE"] * 3
    # a value at the limit keeps it
    assert [row.exceeded for row in rows] == [(), ("noise_share <= 0.5",), ("cross_modality_share >= 0.2",)]


def test_a_limit_that_was_not_measured_fails_a_finished_trial_but_not_one_that_was_stopped(study):
    search = searcher(study, limits=[NOISE])
    search.suggest("a")
    search.on_trial_complete("a", measured(0.3))
    search.suggest("b")
    search.on_trial_complete("b", measured(0.3) | {"finished": False})
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.PRUNED]
    assert "noise_share" in study.trials[0].user_attrs["error"]


@pytest.mark.parametrize("name", ["gp", "tpe"])
def test_samplers_learn_to_keep_away_from_what_limits_rule_out(tmp_path, name):
    study = open_study(tmp_path, "journal", "sweep", ["max"])
    study.sampler = make_sampler(SamplerConfig.model_validate({"name": name, "startup": 6}))
    search = StudySearch(SPACE, study, ["score"], limits=[NOISE])
    for number in range(12):
        # the score rises with k3, and so does the noise, which is too much from 12 on
        k3 = search.suggest(str(number))["values"]["clustering.united.k3"]
        search.on_trial_complete(str(number), measured(k3, noise_share=k3 / 23))
    kept = [not TrialRow.of(trial).exceeded for trial in study.trials]
    # the best that is good lies at the bound: without the limit all of these would be beyond it
    assert sum(kept[-6:]) >= 2


def test_gp_draws_paths_that_only_some_trials_have_and_goes_on_after_a_resume(tmp_path):
    space = SearchSpace(
        {"clustering.united.preset": Choice(("emcc", "kreciprocal")), "clustering.united.k3": Numeric(4, 40)},
        {"clustering.united.k3": {"clustering.united.preset": ("emcc",)}},
    )
    for _ in range(2):  # the second time it is opened again
        study = open_study(tmp_path, "journal", "sweep", ["max"])
        options = SamplerConfig.model_validate({"name": "gp", "startup": 3})
        study.sampler = make_sampler(options, num_drawn=len(study.trials))
        search = StudySearch(space, study, ["score"])
        for number in range(5):
            values = search.suggest(str(number))["values"]
            assert ("clustering.united.k3" in values) == (values["clustering.united.preset"] == "emcc")
            search.on_trial_complete(str(number), result(values.get("clustering.united.k3", 0.0)))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 10


def test_first_trials_that_all_fail_in_the_same_way_end_the_sweep(study):
    search = searcher(study)
    for name in "abc":
        assert search.suggest(name) != Searcher.FINISHED
        search.record_error(name, "no dataset folder x")
    assert search.suggest("d") == Searcher.FINISHED
    assert len(study.trials) == 3


@pytest.mark.parametrize("last", ["good", "another error"])
def test_trials_that_fail_otherwise_or_after_a_good_one_do_not(study, last):
    search = searcher(study)
    for name in "ab":
        search.suggest(name)
        search.record_error(name, "the loss is nan")
    search.suggest("c")
    if last == "good":
        search.on_trial_complete("c", result(0.4))
    else:
        search.record_error("c", last)
    for name in "defg":
        assert search.suggest(name) != Searcher.FINISHED
        search.record_error(name, "the loss is nan")
