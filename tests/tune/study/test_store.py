import optuna
import pytest
from optuna.trial import TrialState

from tests.tune.study.conftest import POINT, SPACE, result, searcher
from tune.config import SamplerConfig
from tune.study.store import make_sampler, open_storage, open_study, own_trials, queue_points, requeue_interrupted


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
    queue_points(again, SPACE, [POINT, POINT | {"clustering.united.k3": 12}])
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
