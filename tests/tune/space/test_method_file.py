"""configs/tune/method.yaml: its space holds the whole method, and its points train."""

from functools import partial

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from ecul.clustering.pipeline import cluster_epoch
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory, read_records
from ecul.settings import config_tree
from tests.tune.conftest import base_of
from tune.config import load_sweep
from tune.space.build import build_space
from tune.study.record import TrialRow
from tune.study.search import StudySearch
from tune.study.store import own_trials
from tune.trials.settings import trial_config

PATH = "configs/tune/method.yaml"
UNITED = "clustering.united"


@pytest.mark.parametrize(
    "path",
    [
        *(f"{UNITED}.{name}" for name in ("reading", "k1", "k2", "k3", "eps", "min_samples")),
        *(f"{UNITED}.schedule.{name}.first" for name in ("k1", "k2", "k3", "eps")),
        "clustering.intra.eps",
        *(f"memory.{kind}.{name}" for kind in ("intra", "united") for name in ("switch_epoch", "first_rule")),
        *(f"loss.{name}" for name in ("united_weight", "instance_weight", "temperature")),
        *(f"optim.{name}" for name in ("learning_rate", "warmup_epochs", "decay_epochs", "decay_factor")),
    ],
)
def test_the_space_holds_every_part_of_the_method(path):
    sweep = load_sweep(PATH)
    assert path in build_space(sweep, base_of(sweep)).paths


def test_no_epoch_of_any_point_breaks_the_order_of_k2_and_k3():
    sweep = load_sweep(PATH)
    base = base_of(sweep)
    space = build_space(sweep, base)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    readings = set()
    for _ in range(40):
        united = trial_config(base, space.sample(study.ask())).clustering.united
        readings.add(united.reading)
        for epoch in range(1, base.stages.united + 1):
            numbers = united.at(epoch)
            assert numbers.k3 >= numbers.k2
            if united.reading == "window":
                assert numbers.k1 >= numbers.k3
        assert united.at(base.stages.united).k3 == united.k3  # the moves end within the stage
    assert readings == {"groups", "window"}


def test_points_of_the_space_train_and_are_told_to_the_study(tmp_path, tiny_config):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(config_tree(tiny_config())))
    sweep = load_sweep(PATH, {"base": str(tmp_path / "base.yaml")})
    base = base_of(sweep)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    for reading in ("groups", "window"):
        study.enqueue_trial({f"{UNITED}.reading": reading})
    search = StudySearch(build_space(sweep, base), study, ["validation_map"], limits=sweep.bounds)
    for name in "ab":
        config = trial_config(base, search.suggest(name)["values"])
        run = tmp_path / name
        fit(
            config,
            clustering_fn=partial(cluster_epoch, num_threads=1),
            reporter=RunDirectory(run),
            store=LocalStore(run),
        )
        last = read_records(run)[-1]
        metrics = {
            "validation_map": last["evaluation/map"],
            **{name: last[f"united/{name}"] for name in limited(sweep)},
        }
        search.on_trial_complete(name, {f"metrics/{key}": value for key, value in metrics.items()} | {"finished": True})
    rows = [TrialRow.of(trial) for trial in own_trials(study, (TrialState.COMPLETE,))]
    assert [row.values[f"{UNITED}.reading"] for row in rows] == ["groups", "window"]
    assert all(0 < row.metrics["validation_map"] < 1 for row in rows)
    assert all(len(trial.constraints) == len(sweep.bounds) for trial in study.trials)


def limited(sweep):
    return [limit.metric for limit in sweep.bounds]
