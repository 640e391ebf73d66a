import pickle
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError

from tests.tune.study.conftest import POINT, SPACE, result, searcher
from tune.study.progress import last_line, trial_line, was_lost
from tune.study.record import TrialRow
from tune.study.store import queue_points


def test_a_closed_trial_is_one_line(study):
    search = searcher(study)
    queue_points(study, SPACE, [POINT])
    search.suggest("a")
    search.on_trial_complete("a", result(0.25))
    assert trial_line(TrialRow.of(study.trials[0]), ["score"], 1, 4) == (
        "1/4  trial 0  score 0.2500  (clustering.united.k2=3, clustering.united.k3=9)"
    )
    assert last_line("Traceback\n  File x\nValueError: no\n\n") == "ValueError: no"


def test_a_failed_trial_shows_its_error(study):
    search = searcher(study)
    queue_points(study, SPACE, [POINT])
    search.suggest("a")
    search.record_error("a", "it broke")
    line = trial_line(TrialRow.of(study.trials[0]), ["score"], 1, 4)
    assert line == "1/4  trial 0  FAILED: it broke  (clustering.united.k2=3, clustering.united.k3=9)"


@pytest.mark.parametrize(("error", "lost"), [(ActorDiedError(), True), (None, False)])
def test_the_kind_of_an_error_is_read_where_ray_tune_writes_it(error, lost, tmp_path):
    file = tmp_path / "error.pkl"
    if error is not None:
        file.write_bytes(pickle.dumps(error))
    assert was_lost(SimpleNamespace(pickled_error_file=str(file))) == lost
    assert not was_lost(SimpleNamespace(pickled_error_file=None))
