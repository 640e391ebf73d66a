import time

import optuna
import pytest
from optuna.trial import TrialState

from ecul.errors import ConfigError
from tune.config import SamplerConfig
from tune.space.search_space import Constraint, Numeric, SearchSpace
from tune.study.progress import last_line, trial_line
from tune.study.search import StudySearch
from tune.study.store import make_sampler, open_storage, open_study, own_trials, queue_points, requeue_interrupted
from tune.sweep import locked

SPACE = SearchSpace(
    {"clustering.k2": Numeric(2, 8, True), "clustering.k3": Numeric(2, 20, True)},
    {},
    (Constraint("clustering.k3", "clustering.k2"),),
)
POINT = {"clustering.k2": 3, "clustering.k3": 9}


@pytest.fixture
def study(tmp_path):
    return open_study(tmp_path, "journal", "sweep", ["max"])


def searcher(study, **options):
    study.sampler = make_sampler(SamplerConfig(startup=2), num_trials_before=len(own_trials(study)))
    return StudySearch(SPACE, study, ["score"], ["max"], **options)


def result(score, *, finished=True, **more):
    return {"score": score, "figures/score": score, "finished": finished, "time_total_s": 1.5, **more}


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_study_survives_and_opens_with_optunas_own_functions(tmp_path, kind):
    study = open_study(tmp_path, kind, "sweep", ["max"])
    queue_points(study, SPACE, [POINT])
    search = searcher(study)
    drawn = search.suggest("a")
    search.on_trial_complete("a", result(0.7))
    again = optuna.load_study(study_name="sweep", storage=open_storage(tmp_path, kind, writing=False))
    best = again.best_trial
    assert best.value == 0.7
    assert best.user_attrs["values"] == drawn["values"] == POINT
    assert best.user_attrs["metrics"] == {"score": 0.7}
    assert best.user_attrs["seconds"] == 1.5


def test_a_journal_cut_short_by_a_kill_is_mended(tmp_path, study):
    queue_points(study, SPACE, [POINT])
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    again = open_study(tmp_path, "journal", "sweep", ["max"])
    queue_points(again, SPACE, [POINT, POINT | {"clustering.k3": 12}])
    assert len(open_study(tmp_path, "journal", "sweep", ["max"]).trials) == 2


def test_points_are_queued_once(study):
    assert queue_points(study, SPACE, [POINT, POINT]) == 1
    assert queue_points(study, SPACE, [POINT]) == 0
    search = searcher(study)
    assert search.suggest("a") == {"values": POINT, "key": "00000"}
    assert queue_points(study, SPACE, [POINT]) == 0


def test_what_a_dead_driver_left_running_is_taken_up_under_its_key(tmp_path, study):
    search = searcher(study)
    search.suggest("done")
    search.on_trial_complete("done", result(0.1))
    left = search.suggest("left")
    again = open_study(tmp_path, "journal", "sweep", ["max"])
    assert requeue_interrupted(again) == 1
    assert requeue_interrupted(again) == 0
    taken_up = searcher(again).suggest("new")
    assert taken_up == left
    assert [trial.number for trial in own_trials(again)] == [0]
    assert len(own_trials(again, list(TrialState))) == 2


def test_a_resumed_sampler_does_not_repeat_its_draws():
    def draws(before):
        sampler = make_sampler(SamplerConfig(name="random"), num_trials_before=before)
        study = optuna.create_study(sampler=sampler)
        return [SPACE.sample(study.ask()) for _ in range(4)]

    assert draws(0) == draws(0)
    assert draws(0) != draws(4)


def test_trials_stopped_early_are_pruned_and_those_that_raise_failed(study):
    search = searcher(study)
    for name in "abc":
        search.suggest(name)
    search.on_trial_result("a", {"score": 0.3, "epoch": 2})
    search.on_trial_complete("a", result(0.3, finished=False))
    search.on_trial_result("b", {"score": 0.9, "epoch": 2})
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


def test_a_sweep_is_run_by_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(ConfigError, match="run by another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_lines_for_people(study):
    search = searcher(study)
    queue_points(study, SPACE, [POINT])
    search.suggest("a")
    search.on_trial_complete("a", result(0.25))
    assert trial_line(study.trials[0], ["score"], 1, 4) == (
        "1/4  trial 0  score 0.2500  (clustering.k2=3, clustering.k3=9)"
    )
    assert last_line("Traceback\n  File x\nValueError: no\n\n") == "ValueError: no"
