"""The life of a run's command on a real cluster: interrupted, started twice, kept waiting, and failing for good."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.util.placement_group import placement_group_table
from ray.util.state import list_actors

from cluster.config import ClusterConfig
from cluster.groups import prepare_controller
from cluster.guard import RunGuard
from cluster.storage import RunFolder
from cluster.train import main
from cluster.trainer import build_trainer, run
from ecul.config import Config
from ecul.errors import TrainingError
from ecul.settings import config_tree
from tests.with_ray import faults
from tests.with_ray.runs import SmallCluster, all_cpus_held, events

faults.by_value()
REPOSITORY = Path(__file__).parents[2]


def command(cluster: SmallCluster, *arguments: str) -> subprocess.Popen[str]:
    """Starts `cluster.train` as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "cluster.train", "--address", cluster.address, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **cluster.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_epoch(epoch: int, folder: Path, running: subprocess.Popen[str]) -> None:
    """Waits for a checkpoint of a run that lasts."""
    deadline = time.monotonic() + 240
    while RunFolder(str(folder.parent), folder.name).newest_epoch < epoch:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def kill_controller(folder: Path) -> int:
    """Kills the process of Train's only controller; returns the last epoch that was kept before it was noticed."""
    (controller,) = list_actors(filters=[("state", "=", "ALIVE"), ("class_name", "=", "TrainController")], detail=True)
    os.kill(controller.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while events(folder)[-1]["event"] != "controller_lost":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return RunFolder(str(folder.parent), folder.name).newest_epoch


def test_a_living_run_keeps_its_name_and_sigterm_says_how_to_go_on(
    ray_cluster: SmallCluster, frozen_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "config.json").write_text(json.dumps(config_tree(frozen_config)))
    new = ["--config", str(tmp_path / "config.json"), "--cpu", "--storage", str(tmp_path), "--name", "run"]
    new += ["--set", "stages.united=500", "--cluster-set", "clustering.borrow=false"]
    folder = tmp_path / "run"
    with all_cpus_held(f"{folder} of a lost controller"):
        first = command(ray_cluster, *new)
        wait_for_epoch(2, folder, first)
    reached = kill_controller(folder)
    wait_for_epoch(reached + 1, folder, first)  # the command has started another one by itself
    assert main(["--address", ray_cluster.address, "--resume", "run", "--storage", str(tmp_path)]) == 2
    refused = capsys.readouterr().err
    assert f"is being trained by process {first.pid} on " in refused
    assert len(refused.splitlines()) == 1

    first.send_signal(signal.SIGTERM)
    _, printed = first.communicate(timeout=120)
    assert first.returncode == 130
    assert "the process of Train's controller was lost (" in printed
    assert "; the training goes on from the newest checkpoint" in printed
    # what processes of the cluster say may come at any time
    said, last = [line for line in printed.splitlines() if not line.startswith("(")][-2:]
    assert said.startswith(f"stopped; the last checkpoint is {folder}/checkpoints/epoch_"), printed
    assert said.endswith(
        f"go on with: python -m cluster.train --resume run --storage {tmp_path} --address {ray_cluster.address}"
    )
    assert last == "cluster.train: interrupted"
    deadline = time.monotonic() + 60  # its workers are free
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)

    shorter = ["--set", "stages.united=1", "--set", "evaluation.every=0"]  # nothing is left to train
    assert main(["--address", ray_cluster.address, *new, *shorter, "--resume-or-start"]) == 0, capsys.readouterr()
    assert events(folder)[-1]["event"] == "finished"
    assert json.loads((folder / "claims" / "000002.beat").read_text())["released"]


class Controller:
    """What a controller of Train does for its groups of workers, as far as Ray is concerned."""

    def __init__(self, folder: RunFolder) -> None:
        prepare_controller(folder)
        callback = PlacementGroupCleanerCallback()
        callback.after_controller_start(cast(Any, SimpleNamespace(run_id="")))

    def ask(self) -> None:
        assert worker_group.placement_group([{"CPU": 1}]).wait(30)


def test_groups_that_a_killed_controller_had_just_made_are_removed(ray_cluster: SmallCluster, tmp_path: Path):
    controller = ray.remote(Controller).options(num_cpus=0).remote(RunFolder(str(tmp_path), "run"))
    ray.get([controller.ask.remote() for _ in range(2)])  # a group is registered only when its workers have started

    def groups() -> list[str]:
        named = [group for group in placement_group_table().values() if group["name"].startswith(f"{tmp_path}/run ")]
        return [group["state"] for group in named]

    assert groups() == ["CREATED", "CREATED"]
    ray.kill(controller)
    deadline = time.monotonic() + 60
    while groups() != ["REMOVED", "REMOVED"]:
        assert time.monotonic() < deadline, groups()
        time.sleep(0.1)


def test_a_mistake_in_the_clustering_ends_the_run_at_once_with_its_cause(
    ray_cluster: SmallCluster, small: Callable[..., ClusterConfig], frozen_config: Config, tmp_path: Path
):
    def mistake(marker: Path) -> None:
        raise ValueError("features row 7 has norm 0; normalise the rows to length 1")

    trainer = build_trainer(frozen_config, small({"num_workers": 2}), name="run", storage=str(tmp_path))
    trainer.train_loop_per_worker = faults.with_faults(faults.in_clustering(tmp_path / "marker", mistake))
    with pytest.raises(TrainingError, match=r"^the clustering failed: ValueError: features row 7 has norm 0") as raised:
        run(trainer)
    assert "\n" not in str(raised.value)
    told = events(tmp_path / "run")
    assert [event["event"] for event in told].count("training") == 1
    failed = {event["rank"]: event["error"] for event in told if event["event"] == "worker_failed"}
    assert failed[0].startswith("TrainingError: the clustering failed: ValueError: features row 7 has norm 0")
    assert told[-1]["event"] == "worker_failed"
    assert "ValueError: features row 7" in (tmp_path / "run" / "train.log").read_text()


def test_an_error_that_comes_back_at_once_ends_the_run_whatever_the_budget(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("cluster.failures._MOST_STUCK", 1)  # the budget is made here and sent to the controller
    trainer = build_trainer(frozen_config, small({"max_failures": -1}), name="run", storage=str(tmp_path))
    marker = tmp_path / "tried"
    error = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 23 GiB")
    trainer.train_loop_per_worker = faults.with_faults(faults.fail(marker, error))
    with pytest.raises(TrainingError, match=r"2 attempts in a row failed .* RuntimeError: CUDA out of memory\."):
        run(trainer)
    assert marker.read_text() == "xx"


def test_a_busy_cluster_is_waited_for_with_a_word_and_not_for_ever(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "3")
    cluster = small({"busy_timeout_s": 5})
    trainer = build_trainer(frozen_config, cluster, name="run", storage=str(tmp_path))
    trainer.run_config.callbacks = [RunGuard(RunFolder(str(tmp_path), "run"), cluster, first_notice_s=2)]
    said = r"busy_timeout_s=5 s for 1 workers of 1 CPU; free now: 0 of \d+ CPU"
    with all_cpus_held(), pytest.raises(TrainingError, match=said):
        run(trainer)
    waiting = [event for event in events(tmp_path / "run") if event["event"] == "waiting"]
    assert [event["state"].partition(";")[0] for event in waiting] == ["1 workers of 1 CPU"]
