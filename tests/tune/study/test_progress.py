from tests.tune.study.conftest import POINT, SPACE, result, searcher
from tune.study.progress import last_line, trial_line
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
