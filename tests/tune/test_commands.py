import pytest
import yaml

from ecul.config import Config
from ecul.errors import ConfigError
from ecul.settings import parse_config
from tests.tune.conftest import simulated_bank
from tune import results, run
from tune.compare import comparison_text, only_in_stage_two
from tune.config import load_sweep
from tune.plan import best_values, make_plan, write_plan
from tune.report.markdown import best_yaml
from tune.space.build import base_config, build_space
from tune.study.store import make_sampler
from tune.sweep import prepare_study
from tune.trials.bank import TuningBank, save_bank

SHIPPED = ["emcc", "grid", "label-free", "pareto", "presets"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sweeps_make_checked_spaces(name):
    sweep = load_sweep(f"configs/tune/{name}.yaml")
    assert build_space(sweep, base_config(sweep)).domains


def test_the_shipped_sweep_works_at_both_fidelities():
    sweep = load_sweep("configs/tune/emcc.yaml", {"fidelity": "full"})
    assert "memory.united.switch_epoch" in build_space(sweep, base_config(sweep)).domains


def test_the_base_comes_first_then_the_files_points(make_sweep, tmp_path):
    plan = make_plan(make_sweep(points=[{"clustering.k2": 5, "clustering.k3": 7}]), tmp_path / "s", local=True)
    assert [point["clustering.k2"] for point in plan.points] == [3, 5]
    assert plan.points[1]["clustering.eps"] == 0.5
    study = prepare_study(plan)
    assert [plan.space(study.ask())["values"] for _ in plan.points] == list(plan.points)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"clustering.k2": 5, "clustering.k3": 4}, "outside"),
        ({"clustering.k2": 90}, "outside"),
        ({"loss.temperature": 0.1}, "not in the space"),
    ],
)
def test_points_outside_the_space_are_refused(make_sweep, tmp_path, point, message):
    with pytest.raises(ConfigError, match=message):
        make_plan(make_sweep(points=[point]), tmp_path / "s", local=True)


def test_a_validation_objective_needs_held_out_people(make_sweep, tmp_path):
    save_bank(TuningBank(simulated_bank().train, None, None, {}), tmp_path / "blind.npz")
    features = {"bank": str(tmp_path / "blind.npz")}
    with pytest.raises(ConfigError, match="no held-out people"):
        make_plan(make_sweep(features=features), tmp_path / "s", local=True)
    blind = {"features": [{"metric": "label_free_product"}]}
    assert make_plan(make_sweep(features=features, objectives=blind), tmp_path / "s", local=True).bank is not None


def test_a_grid_has_as_many_trials_as_points(make_sweep, tmp_path):
    space = {"clustering.k2": {"int": [2, 4]}, "clustering.k3": {"int": [3, 9], "step": 3}}
    plan = make_plan(make_sweep(space=space, sampler={"name": "grid"}), tmp_path / "s", local=True)
    study = prepare_study(plan)
    # k3 counts in steps from 3: 3, 6, 9; with k2=4 the first is ruled out
    assert plan.num_trials == len(study.trials) == 3 + 3 + 2
    drawn = [plan.space(study.ask())["values"] for _ in range(8)]
    assert len({tuple(values.items()) for values in drawn}) == 8
    assert len(prepare_study(plan).trials) == 16  # asked and left: taken up again


def test_the_best_of_a_features_sweep_start_a_full_one(make_sweep, tmp_path):
    plan = make_plan(make_sweep(), tmp_path / "quick", local=True)
    write_plan(plan)
    study = prepare_study(plan)
    study.sampler = make_sampler(plan.sweep.sampler)
    for score in (0.2, 0.9, 0.5):
        trial = study.ask()
        trial.set_user_attr("values", plan.space(trial)["values"])
        study.tell(trial, score)
    best = best_values(tmp_path / "quick", 2)
    assert best == [study.trials[1].user_attrs["values"], study.trials[2].user_attrs["values"]]
    full = {"start_from": "quick", "start_points": 2}
    later = make_plan(make_sweep(fidelity="full", full=full), tmp_path / "slow", local=True)
    assert [point["clustering.k2"] for point in later.points[1:]] == [values["clustering.k2"] for values in best]
    # what the quick sweep did not search is the base's
    assert {point["memory.united.switch_epoch"] for point in later.points} == {3}
    with pytest.raises(ConfigError, match="no sweep"):
        make_plan(make_sweep(fidelity="full", full={"start_from": "none"}), tmp_path / "slow", local=True)


def test_the_best_preset_is_a_configuration_that_runs(tiny_config):
    text = best_yaml(tiny_config(), {"clustering.k3": 8, "memory.united.switch_epoch": 2}, origin="sweep x")
    config = parse_config(yaml.safe_load(text))
    assert isinstance(config, Config)
    assert (config.clustering.k3, config.memory.united.switch_epoch) == (8, 2)
    assert config.evaluation.split == "test"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --config FILE"),
        (["--config", "none.yaml"], "cannot read sweep"),
        (["--config", "configs/tune/emcc.yaml", "--name", "a/b"], "no slashes"),
        (["--resume", "nothing"], "no sweep"),
        (["--resume", "nothing", "--fidelity", "full"], "leave out --fidelity"),
        (["--config", "configs/tune/emcc.yaml"], "needs --bank"),
        (["--config", "configs/tune/emcc.yaml", "--bank", "none.npz"], "no feature bank"),
        (["--config", "configs/tune/emcc.yaml", "--fidelity", "full", "--warm-start", "none"], "neither a checkpoint"),
        (
            ["--config", "configs/tune/emcc.yaml", "--set", "objectives.features=[{metric: test_map}]"],
            "test identities",
        ),
        (["--config", "configs/tune/emcc.yaml", "--tracker", "mlflow"], "tracker"),
    ],
)
def test_what_cannot_work_is_said_in_one_line_before_ray_starts(arguments, message, tmp_path, capsys):
    assert run.main([*arguments, "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_results_of_no_sweep_are_refused(tmp_path, capsys):
    assert results.main(["x", "--storage", str(tmp_path)]) == 2
    assert "no sweep" in capsys.readouterr().err


def test_comparisons_are_paired_by_seed():
    text = comparison_text({"base": [0.5, 0.6], "best": [0.55, 0.58]}, [1, 2])
    assert "| difference" in text
    assert "+0.0500" in text
    assert "ahead with 1 of 2 seeds" in text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("clustering.k3", True),
        ("clustering.intra.eps", False),
        ("memory.united.switch_epoch", True),
        ("memory.intra.switch_epoch", False),
        ("loss.temperature", False),
    ],
)
def test_runs_share_stage_one_only_where_it_is_alike(path, expected):
    assert only_in_stage_two(path) == expected
