import os
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from ecul.errors import ConfigError
from tests.tune.study.conftest import POINT, SPACE, result, searcher
from tune.config import SamplerConfig
from tune.space.domains import Numeric
from tune.space.search_space import SearchSpace
from tune.study.store import (
    count_drawn,
    make_sampler,
    open_storage,
    open_study,
    own_trials,
    queue_points,
    read_study,
    requeue_interrupted,
)


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
        sampler = make_sampler(SamplerConfig(name="random"), num_drawn=before)
        study = optuna.create_study(sampler=sampler)
        return [SPACE.sample(study.ask()) for _ in range(4)]

    assert draws(0) == draws(0)
    assert draws(0) != draws(4)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_sweep_that_is_killed_again_and_again_never_draws_a_point_twice(tmp_path, sampler):
    space = SearchSpace({"clustering.united.eps": Numeric(0.2, 0.7)}, {})
    drawn = {}
    # killed before the first trial ends, twice; then two trials end, and it is killed once more
    for asks, finished in ((4, 0), (6, 0), (8, 2), (9, 0)):
        study = open_study(tmp_path, "journal", "sweep", ["max"])
        requeue_interrupted(study)
        study.sampler = make_sampler(SamplerConfig(name=sampler, startup=50), num_drawn=count_drawn(study))
        for number in range(asks):
            trial = study.ask()
            key = trial.user_attrs.get("key", f"{trial.number:05d}")
            trial.set_user_attr("key", key)
            point = space.sample(trial)["clustering.united.eps"]
            # one taken up again keeps its point
            assert drawn.setdefault(key, point) == point
            if number < finished:
                study.tell(trial, 0.5)
    assert len(drawn) == 4 + 2 + 2 + 3
    assert len(set(drawn.values())) == len(drawn)


def test_locks_of_killed_writers_are_removed_by_the_process_that_holds_the_sweep(tmp_path):
    # as optuna leaves them when it is killed while it writes, and while it unlocks
    (tmp_path / "study.journal.lock").symlink_to("runs/gone/study.journal")
    (tmp_path / "study.journal.lock1234.rename").symlink_to("study.journal")
    open_storage(tmp_path, "journal", writing=False)
    assert len(list(tmp_path.glob("*.lock*"))) == 2
    assert open_study(tmp_path, "journal", "sweep", ["max"]).trials == []
    assert not list(tmp_path.glob("*.lock*"))


def test_locks_are_links_whose_age_can_be_told_from_any_directory(tmp_path, monkeypatch):
    targets = []
    symlink = os.symlink

    def noting(target, link, **options):
        targets.append(target)
        symlink(target, link, **options)

    monkeypatch.setattr(os, "symlink", noting)
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    open_study(Path("runs"), "journal", "sweep", ["max"])
    assert set(targets) == {str(tmp_path / "runs" / "study.journal")}


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_renamed_sweep_keeps_its_study(tmp_path, kind):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    queue_points(open_study(old, kind, "old", ["max"]), SPACE, [POINT])
    old.rename(new)
    assert len(read_study(new, kind).trials) == 1
    assert len(open_study(new, kind, "new", ["max"]).trials) == 1


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no study yet"):
        read_study(tmp_path, "journal")
