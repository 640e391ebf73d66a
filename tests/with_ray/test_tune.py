"""Sweeps of both fidelities over a real cluster, cut off and taken up again."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import ray
import yaml
from optuna.trial import TrialState
from ray.util.state import list_actors

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory, read_records
from ecul.settings import config_tree, load_config
from tests.cluster.tracking.wandb_files import offline_runs
from tests.tune.conftest import simulated_bank, sweep_tree
from tests.with_ray.runs import SmallCluster, events, kill_driver, results
from tune import compare, confirm, run
from tune.study.store import own_trials, read_study, trial_key
from tune.trials.bank import save_bank
from tune.trials.grid import RepeatedRun
from tune.trials.repetition import RunsOnDisk

SPACE = {
    "clustering.united.k2": {"int": [2, 5]},
    "clustering.united.k3": {"int": [2, 9]},
    "clustering.united.eps": {"float": [0.3, 0.8]},
}


@pytest.fixture
def write_sweep(tmp_path: Path, tiny_config: Callable[..., Config]) -> Callable[..., str]:
    """A function from changed keys to a sweep's file."""
    base = tiny_config({"evaluation.every": 1, "clustering.intra.eps": 0.5})
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(config_tree(base)))
    save_bank(simulated_bank(), tmp_path / "bank.npz")
    (tmp_path / "cluster.yaml").write_text("{cpu: true, cpus_per_worker: 1, clustering: {borrow: false}}")

    def write(**changes: Any) -> str:
        tree = (
            sweep_tree(tmp_path, SPACE)
            | {
                "features": {"bank": str(tmp_path / "bank.npz")},
                "full": {"cluster": str(tmp_path / "cluster.yaml"), "grace_epochs": 1},
                "trials": 2,
            }
            | changes
        )
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tree))
        return str(tmp_path / "sweep.yaml")

    return write


def train_here(config: Config, folder: Path) -> None:
    fit(
        config,
        clustering_fn=partial(cluster_epoch, num_threads=1),
        reporter=RunDirectory(folder),
        store=LocalStore(folder),
    )


@pytest.fixture
def confirmed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an earlier command had trained all runs of the confirmation but the two that begin from seed 1's stage 1.

    Most of a small training over Ray is the start of processes.
    """
    over_ray = confirm.train_missing

    def train_missing(runs: Sequence[RepeatedRun], disk: RunsOnDisk, **options: Any) -> None:
        for before in disk.missing(runs):
            if before.values["seed"] == 2 or before.variant == "stage1":
                train_here(before.config, disk.folder / before.key)
        over_ray(runs, disk, **options)

    monkeypatch.setattr(confirm, "train_missing", train_missing)


@pytest.fixture(scope="module")
def stage_one(tiny_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage1")
    held_out = {"data.hold_out_validation": True, "evaluation.split": "validation"}
    train_here(tiny_config({**held_out, "stages.united": 0, "clustering.intra.eps": 0.5}), folder)
    return folder


def study_of(folder: Path) -> optuna.Study:
    return read_study(folder, "journal")


def free_cpus(wanted: float, seconds: float = 30) -> bool:
    """Whether so many CPUs are free, after at most some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ray.available_resources().get("CPU", 0) >= wanted:
            return True
        time.sleep(0.2)
    print(ray.available_resources(), ray.util.placement_group_table(), list_actors(filters=[("state", "!=", "DEAD")]))
    return False


def tracked_trial(tracked: dict[str, dict[str, Any]], trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    (found,) = (value for name, value in tracked.items() if f"-{trial_key(trial)}-" in name)
    return found


def test_a_features_sweep_is_reported_and_tracked(
    ray_cluster: SmallCluster,
    write_sweep: Callable[..., str],
    confirmed_in_part: None,
    tmp_path: Path,
    monkeypatch: Any,
    capsys: Any,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    arguments = ["--config", write_sweep(), "--storage", str(tmp_path), "--name", "f", "--address", ray_cluster.address]
    at_ctrl_c = signal.getsignal(signal.SIGINT)
    assert run.main([*arguments, "--tracker", "wandb"]) == 0
    assert signal.getsignal(signal.SIGINT) is at_ctrl_c  # Ray Tune's own would swallow one in the confirmation
    folder = tmp_path / "f"
    trials = study_of(folder).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert "2 trials: 2 complete" in capsys.readouterr().out
    assert load_config(folder / "report" / "best.yaml").data.hold_out_validation is False
    # finished: nothing left to do
    common = ["--storage", str(tmp_path), "--address", ray_cluster.address]
    assert run.main(["--resume", "f", *common]) == 0
    assert len(study_of(folder).trials) == 2

    capsys.readouterr()
    assert compare.main(["f", *common, "--top", "1", "--seeds", "2"]) == 0
    after = results(folder / "confirm")
    runs = [name.rsplit("-", 1)[0] for name in sorted(after)]
    assert runs == [f"confirm-{name}-seed{seed}" for name in ("base", "stage1", "trial1") for seed in (1, 2)]
    # Ray's own warnings may stand before it
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("# "))
    assert re.match(r"# Sweep f \(features\): .*base \(.*validation_map [+-]0\.\d+.*seeds 1, 2\)", line), line
    for name in after:  # the others begin where stage 1 ended
        epochs = [record["epoch"] for record in read_records(folder / "confirm" / name)]
        assert epochs[-1] == (1 if "stage1" in name else 3)
    tracked = offline_runs(folder)
    assert {found["group"] for found in tracked.values()} == {"f"}
    for trial in trials:
        found = tracked_trial(tracked, trial)
        assert found["job_type"] == "trial"
        assert found["config"]["values"] == trial.user_attrs["values"]
        score = found["history"][0]["validation_cross_modality_f1"]
        assert score == pytest.approx(trial.value)
    assert "sweep" in {found["job_type"] for found in tracked.values()}
    for variant in ("base", "trial1"):
        assert any(f"-confirm-{variant}-seed1-" in name for name in tracked)


def test_a_killed_driver_loses_no_finished_trial(
    ray_cluster: SmallCluster, write_sweep: Callable[..., str], tmp_path: Path
) -> None:
    common = ["--storage", str(tmp_path), "--address", ray_cluster.address, "--concurrency", "1"]
    folder = tmp_path / "k"
    kill_driver(
        ["tune.run", "--config", write_sweep(trials=500), "--name", "k", *common],
        dict(ray_cluster.environment) | {"OMP_NUM_THREADS": "1"},
        once=lambda: (folder / "study.journal").is_file() and len(own_trials(study_of(folder))) >= 2,
        seconds=120,
    )
    before = study_of(folder)
    done = {trial.number: (trial.value, trial.user_attrs["values"]) for trial in own_trials(before)}
    running = {trial_key(trial) for trial in before.trials if trial.state == TrialState.RUNNING}

    assert run.main(["--resume", "k", "--trials", str(len(done) + 2), *common]) == 0
    after = own_trials(study_of(folder))
    assert len(after) == len(done) + 2
    kept = {trial.number: (trial.value, trial.user_attrs["values"]) for trial in after if trial.number in done}
    assert kept == done
    keys = [trial_key(trial) for trial in after]
    assert len(set(keys)) == len(keys)
    assert running <= set(keys)


def test_a_full_sweep_trains_stage_two_and_records_what_fails(
    ray_cluster: SmallCluster, write_sweep: Callable[..., str], stage_one: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    broken = {"optim.learning_rate": 1e30}  # the loss is not finite after the first step
    weak = {"optim.learning_rate": 0.05}  # forgets what the warm start had learned
    sweep = write_sweep(
        fidelity="full",
        space={**SPACE, "optim.learning_rate": {"categorical": [3.5e-4, 0.05, 1e30]}},
        points=[broken, weak],
        trials=3,
        tracker="wandb+checkpoint",
    )
    # the last begins when the broken one ends, so it is held against the first, and stopped early
    common = ["--storage", str(tmp_path), "--address", ray_cluster.address, "--concurrency", "2"]
    assert run.main(["--config", sweep, "--warm-start", str(stage_one), "--name", "t", *common]) == 0
    folder = tmp_path / "t"
    default, failed, other = study_of(folder).trials
    assert failed.state == TrialState.FAIL
    assert "the loss is nan" in failed.user_attrs["error"]
    assert failed.user_attrs["values"]["optim.learning_rate"] == 1e30
    assert (default.state, other.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert "worker_failed" not in [event["event"] for event in events(folder / "trials" / trial_key(other))]
    for trial in (default, other):
        records = read_records(folder / "trials" / trial_key(trial))
        # only what the warm start had not trained
        assert records[0]["epoch"] == 2
        # a worker that is to be stopped may have ended another epoch meanwhile
        scores = [record["evaluation/map"] for record in records if "evaluation/map" in record]
        known = scores if trial.state == TrialState.PRUNED else scores[-1:]
        assert trial.user_attrs["metrics"]["validation_map"] in known
    assert free_cpus(ray.cluster_resources()["CPU"])

    tracked = offline_runs(folder)
    assert sum(found["job_type"] == "sweep" for found in tracked.values()) == 1
    assert "the loss is nan" in tracked_trial(tracked, failed)["summary"]["error"]
    # only a trial that was trained to the end sends its checkpoint
    sent = [bool(tracked_trial(tracked, trial)["artifacts"]) for trial in (default, failed, other)]
    assert sent == [True, False, False]
    for trial in (default, other):
        found = tracked_trial(tracked, trial)
        assert found["group"] == "t"
        assert found["ended"]
        assert found["config"]["clustering"]["united"]["k3"] == trial.user_attrs["values"]["clustering.united.k3"]
        scores = [row["evaluation/map"] for row in found["history"] if "evaluation/map" in row]
        assert scores[-1] == pytest.approx(trial.user_attrs["metrics"]["validation_map"])


def kill_the_trial(folder: Path, killed: list[int]) -> None:
    """Kills the process of the sweep's first trial once it has trained an epoch."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        # Ray Tune wraps the class, so that its name is another
        alive = list_actors(filters=[("state", "=", "ALIVE")], detail=True)
        trials = [actor for actor in alive if re.search("FullTrial|Trainable|_Inner", actor.class_name)]
        if trials and any(folder.glob("trials/*/metrics.jsonl")):
            killed.append(trials[0].pid)
            os.kill(trials[0].pid, signal.SIGKILL)
            return
        time.sleep(0.1)


def test_a_full_sweep_cut_off_by_its_time_limit_goes_on_and_a_lost_trial_is_trained_to_the_end(
    ray_cluster: SmallCluster,
    write_sweep: Callable[..., str],
    stage_one: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "tune")
    sweep = write_sweep(fidelity="full", trials=1, set={"stages.united": 3, "stages.iterations": 20})
    common = ["--storage", str(tmp_path), "--address", ray_cluster.address]
    new = ["--config", sweep, "--warm-start", str(stage_one), "--name", "c", "--max-hours", str(4 / 3600)]
    assert run.main([*new, *common]) == 0
    assert "--resume c" in caplog.text
    folder, killed = tmp_path / "c", list[int]()
    assert own_trials(study_of(folder)) == []
    assert free_cpus(ray.cluster_resources()["CPU"])

    killer = threading.Thread(target=kill_the_trial, args=(folder, killed))
    killer.start()
    assert run.main(["--resume", "c", *common]) == 0
    killer.join()
    assert killed
    (trial,) = own_trials(study_of(folder))
    assert (trial.state, trial_key(trial)) == (TrialState.COMPLETE, "00000")
    assert np.isfinite(trial.value)
    assert trial.user_attrs["losses"] == 1
    assert [record["epoch"] for record in read_records(folder / "trials" / "00000")] == [2, 3, 4]
    assert free_cpus(ray.cluster_resources()["CPU"])
