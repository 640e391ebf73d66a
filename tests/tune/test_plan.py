import pytest

from ecul.errors import ConfigError
from tests.tune.conftest import simulated_bank
from tune.folder import read_sweep, sweep_folder
from tune.plan import make_plan, write_plan
from tune.study.store import best_values, make_sampler
from tune.sweep import prepare_study
from tune.trials.bank import TuningBank, save_bank


def test_the_base_comes_first_then_the_files_points(make_sweep, tmp_path):
    plan = make_plan(
        make_sweep(points=[{"clustering.united.k2": 5, "clustering.united.k3": 7}]), tmp_path / "s", local=True
    )
    assert [point["clustering.united.k2"] for point in plan.points] == [3, 5]
    assert plan.points[1]["clustering.united.eps"] == 0.5
    study = prepare_study(plan)
    assert [plan.space.sample(study.ask()) for _ in plan.points] == list(plan.points)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"clustering.united.k2": 5, "clustering.united.k3": 4}, "outside"),
        ({"clustering.united.k2": 90}, "outside"),
        ({"loss.temperature": 0.1}, "not in the space"),
    ],
)
def test_points_outside_the_space_are_refused(make_sweep, tmp_path, point, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(make_sweep(points=[point]), tmp_path / "s", local=True)


@pytest.mark.parametrize("bounded", [True, False])
def test_a_base_that_misses_the_grid_is_told_and_not_rounded(make_sweep, tmp_path, bounded, caplog):
    # the base's k3 is 9, and the grid holds 8 and 12
    space = {"clustering.united.k2": {"int": [2, 4]}, "clustering.united.k3": {"int": [4, 12], "step": 4}}
    constraints = ["clustering.united.k3 >= clustering.united.k2"] if bounded else []
    given = {"clustering.united.k3": 9}
    plan = make_plan(make_sweep(space=space, constraints=constraints, set=given), tmp_path / "s", local=True)
    assert plan.points == []
    assert "clustering.united.k3=9 is outside [4, 12] in steps of 4" in caplog.text
    with pytest.raises(ConfigError, match="in steps of 4"):
        make_plan(make_sweep(space=space, constraints=constraints, points=[given]), tmp_path / "s", local=True)


def test_a_validation_objective_needs_held_out_people(make_sweep, tmp_path):
    save_bank(TuningBank(train=simulated_bank().train), tmp_path / "blind.npz")
    features = {"bank": str(tmp_path / "blind.npz")}
    with pytest.raises(ConfigError, match="no held-out people"):
        make_plan(make_sweep(features=features), tmp_path / "s", local=True)
    blind = {"features": [{"metric": "label_free_product"}]}
    assert make_plan(make_sweep(features=features, objectives=blind), tmp_path / "s", local=True).bank is not None


def test_an_objective_of_source_people_needs_them_in_the_bank(make_sweep, tmp_path):
    objectives = {"features": [{"metric": "source_cross_modality_f1"}]}
    with pytest.raises(ConfigError, match=r"has no source people.*--source FOLDER"):
        make_plan(make_sweep(objectives=objectives), tmp_path / "s", local=True)


def test_a_grid_has_as_many_trials_as_points(make_sweep, tmp_path):
    space = {"clustering.united.k2": {"int": [2, 4]}, "clustering.united.k3": {"int": [3, 9], "step": 3}}
    plan = make_plan(make_sweep(space=space, sampler={"name": "grid"}), tmp_path / "s", local=True)
    study = prepare_study(plan)
    # k3 counts in steps from 3: 3, 6, 9; with k2=4 the first is ruled out
    assert plan.num_trials == len(study.trials) == 3 + 3 + 2
    drawn = [plan.space.sample(study.ask()) for _ in range(8)]
    assert len({tuple(values.items()) for values in drawn}) == 8
    assert len(prepare_study(plan).trials) == 16  # asked and left: taken up again


def test_the_best_of_a_features_sweep_start_a_full_one(make_sweep, tmp_path):
    plan = make_plan(make_sweep(), tmp_path / "quick", local=True)
    write_plan(plan)
    study = prepare_study(plan)
    study.sampler = make_sampler(plan.sweep.sampler)
    for score in (0.2, 0.9, 0.5):
        trial = study.ask()
        trial.set_user_attr("values", plan.space.sample(trial))
        study.tell(trial, score)
    best = best_values(tmp_path / "quick", 2)
    assert best == [study.trials[1].user_attrs["values"], study.trials[2].user_attrs["values"]]
    full = {"start_from": "quick", "start_points": 2}
    later = make_plan(make_sweep(fidelity="full", full=full), tmp_path / "slow", local=True)
    assert [point["clustering.united.k2"] for point in later.points[1:]] == [
        values["clustering.united.k2"] for values in best
    ]
    # what the quick sweep did not search is the base's
    assert {point["memory.united.switch_epoch"] for point in later.points} == {3}
    with pytest.raises(ConfigError, match="no sweep"):
        make_plan(make_sweep(fidelity="full", full={"start_from": "none"}), tmp_path / "slow", local=True)


def test_a_sweep_started_with_relative_paths_is_resumed_from_anywhere(make_sweep, bank_file, tmp_path, monkeypatch):
    (tmp_path / "cluster.yaml").write_text("{cpu: true}")
    (tmp_path / "bank.npz").write_bytes(bank_file.read_bytes())
    given = make_sweep(features={"bank": "bank.npz"}, full={"cluster": "cluster.yaml"}).updated({"base": "base.yaml"})
    relative = {"set": {"data.root": "data"}}
    monkeypatch.chdir(tmp_path)
    plan = make_plan(given.updated(relative), sweep_folder("runs", "s"), local=True)
    assert plan.base.data.root == plan.original.data.root == str(tmp_path / "data")
    write_plan(plan)
    # moved, renamed and resumed from somewhere else
    (tmp_path / "runs" / "s").rename(tmp_path / "t")
    monkeypatch.chdir("/")
    again = make_plan(read_sweep(tmp_path / "t"), tmp_path / "t", local=True)
    assert again.base == plan.base
    assert again.sweep.features.bank == str(tmp_path / "bank.npz")
    assert again.sweep.full.cluster == str(tmp_path / "cluster.yaml")
