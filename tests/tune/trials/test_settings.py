from ecul.settings import updated
from tests.tune.conftest import base_of
from tune.trials.settings import original_config, trial_config, value_at


def test_trials_are_always_scored_on_held_out_people(make_bare_sweep):
    base = base_of(make_bare_sweep())
    assert base.data.hold_out_validation
    assert base.evaluation.split == "validation"


def test_another_preset_drops_the_numbers_of_the_base_preset(make_bare_sweep):
    base = base_of(make_bare_sweep())
    changed = trial_config(base, {"clustering.united.preset": "kreciprocal", "clustering.united.k1": 20})
    assert (changed.clustering.united.k1, changed.clustering.united.k2, changed.clustering.united.k3) == (20, 6, None)
    same = trial_config(base, {"clustering.united.preset": "emcc"})
    assert same.clustering.united.k3 == 9


def test_another_preset_or_reading_drops_the_ranges_of_the_base_and_their_moves(make_bare_sweep):
    moves = {"clustering.united.schedule.k3.first": 12, "clustering.united.schedule.eps.first": 0.4}
    moves["clustering.united.schedule.k3.epochs"] = 6
    base = updated(base_of(make_bare_sweep()), moves)
    changed = trial_config(base, {"clustering.united.preset": "kreciprocal"}).clustering.united
    assert (changed.k3, list(changed.schedule.moves())) == (None, ["eps"])
    window = trial_config(base, {"clustering.united.reading": "window"}).clustering.united
    assert (window.k1, window.k2, window.k3, list(window.schedule.moves())) == (40, 16, 40, ["eps"])
    assert window.schedule.k3.epochs == 6  # a trial that moves it by itself takes as long as the base says
    same = trial_config(base, {"clustering.united.reading": "groups"}).clustering.united
    assert (same.k3, list(same.schedule.moves())) == (9, ["eps", "k3"])


def test_set_changes_the_base_of_all_trials_before_it_is_checked(make_bare_sweep):
    # kreciprocal knows no k3: the file's one is only refused together with it
    sweep = make_bare_sweep(
        set={"clustering.united.preset": "kreciprocal", "clustering.united.k3": None, "stages.united": 2}
    )
    config = original_config(sweep)
    assert (config.clustering.united.preset, config.clustering.united.k3, config.stages.united) == (
        "kreciprocal",
        None,
        2,
    )
    assert not config.data.hold_out_validation


def test_a_path_that_leads_nowhere_has_no_value():
    assert value_at({"a": {"b": 1}}, "a.b") == 1
    assert value_at({"a": {"b": 1}}, "a.c") is None
    assert value_at({"a": {"b": 1}}, "a.b.c") is None
