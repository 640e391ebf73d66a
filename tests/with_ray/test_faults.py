"""Something is really killed; the training ends as if nothing had happened, and the run directory tells of it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator

from cluster.config import ClusterConfig
from cluster.trainer import build_trainer, run
from ecul.config import Config
from ecul.errors import TrainingError
from ecul.settings import config_tree
from tests.with_ray import faults
from tests.with_ray.runs import InBackground, SmallCluster, assert_same_run, events, state

faults.by_value()
LOSS_IS_NAN = "epoch 1, step 1: the loss is nan"


@dataclass
class Fault:
    """A training with a fault, under way beside others.

    Attributes:
        folder: of the run.
        marker: a file with the time of the fault, once it has happened.
        training: ends with the training; what it returns depends on the fault.
        epoch: in which the fault happens.
    """

    folder: Path
    marker: Path
    training: InBackground[Any]
    epoch: int = 1


def disturbed(config: Config, cluster: ClusterConfig, storage: Path, *laid: Callable[[], None]) -> None:
    """Trains with faults."""
    trainer = build_trainer(config, cluster, name="run", storage=str(storage))
    trainer.train_loop_per_worker = faults.with_faults(*laid)
    run(trainer)


@pytest.fixture(scope="module")
def side_by_side(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Fault]:
    """The faults that need no node of their own, at the same time."""
    # another place each time; a failure prints it
    epoch, step = random.randint(1, frozen_config.num_epochs), random.randint(1, frozen_config.stages.iterations)
    print(f"rank 1 dies before step {step} of epoch {epoch}")

    def begin(name: str, lay: Callable[[Path], Callable[[], None]], num_workers: int = 1, epoch: int = 1) -> Fault:
        folder = tmp_path_factory.mktemp(name)
        laid, cluster = lay(folder / "marker"), small({"num_workers": num_workers})
        training = InBackground(lambda: disturbed(frozen_config, cluster, folder, laid))
        return Fault(folder / "run", folder / "marker", training, epoch)

    driver = tmp_path_factory.mktemp("driver")
    return {
        "worker": begin("worker", lambda marker: faults.die_in_step(marker, rank=1, epoch=epoch, step=step), 2, epoch),
        "clustering": begin("clustering", lambda marker: faults.in_clustering(marker, faults.die)),
        "error": begin("error", lambda marker: faults.fail_in_step(marker, TrainingError(LOSS_IS_NAN), epoch=1)),
        "driver": Fault(
            driver / "run",
            driver / "marker",
            InBackground(lambda: kill_and_resume(ray_cluster, frozen_config, driver)),
            epoch=2,
        ),
    }


def seconds_after(marker: Path, folder: Path) -> dict[str, float]:
    """Seconds from the fault to the first event of each kind after it, as the run directory tells them."""
    died = float(marker.read_text())
    after: dict[str, float] = {}
    for event in events(folder):
        seconds = datetime.fromisoformat(event["time"]).timestamp() - died
        if seconds > 0:
            after.setdefault(event["event"], seconds)
    print("after the fault:", ", ".join(f"{event} {seconds:.1f} s" for event, seconds in after.items()))  # pytest -rP
    return after


def test_a_worker_that_dies_in_a_step_is_replaced(side_by_side: dict[str, Fault], undisturbed: dict[int, Path]):
    fault = side_by_side["worker"]
    fault.training.result(300)
    assert_same_run(fault.folder, undisturbed[2])
    told = events(fault.folder)
    assert [event["event"] for event in told if event["event"] != "worker_failed"] == [
        "training",
        "training",
        "finished",
    ]
    assert 1 in {event["rank"] for event in told if event["event"] == "worker_failed"}
    # the upload of the last epoch's checkpoint may have been under way
    assert max(0, fault.epoch - 2) <= told[-2]["after_epoch"] < fault.epoch
    assert seconds_after(fault.marker, fault.folder)["training"] < 90


def test_the_clustering_process_may_die(side_by_side: dict[str, Fault], local_run: Path):
    fault = side_by_side["clustering"]
    fault.training.result(300)
    assert_same_run(fault.folder, local_run)
    (warning,) = [event for event in events(fault.folder) if event["event"] == "warning"]
    assert "clustering attempt 1 was lost (WorkerCrashedError" in warning["message"]
    assert [event["event"] for event in events(fault.folder)] == ["training", "warning", "finished"]
    assert seconds_after(fault.marker, fault.folder)["warning"] < 30


def test_an_error_of_ours_ends_the_run_at_once(side_by_side: dict[str, Fault]):
    fault = side_by_side["error"]
    with pytest.raises(TrainingError, match=LOSS_IS_NAN):
        fault.training.result(300)
    assert fault.marker.read_text() == "x"
    last = events(fault.folder)[-1]
    assert last == {
        "time": last["time"],
        "event": "worker_failed",
        "rank": 0,
        "error": f"TrainingError: {LOSS_IS_NAN}",
    }


def kill_and_resume(cluster: SmallCluster, config: Config, storage: Path) -> subprocess.CompletedProcess[str]:
    """Starts a training by the command, kills it after two epochs, breaks Train's snapshot, and resumes it."""
    (storage / "config.json").write_text(json.dumps(config_tree(config)))
    command = [sys.executable, "-m", "cluster.train", "--address", cluster.address, "--storage", str(storage)]
    first = subprocess.Popen(
        [*command, "--config", str(storage / "config.json"), "--cpu", "--name", "run"],
        env=cluster.environment,
        stderr=subprocess.DEVNULL,
    )
    metrics = storage / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (storage / "marker").write_text(f"{time.time()}")
    snapshot = storage / "run" / "checkpoint_manager_snapshot.json"
    snapshot.write_text(snapshot.read_text()[:-20])  # as if it had been killed while writing
    return subprocess.run(
        [*command, "--resume", "run"], env=cluster.environment, capture_output=True, text=True, timeout=300
    )


def test_a_killed_driver_is_resumed_by_name(side_by_side: dict[str, Fault], local_run: Path):
    fault = side_by_side["driver"]
    second = fault.training.result(300)
    assert second.returncode == 0, second.stderr
    assert "list of checkpoints was broken" in second.stderr
    assert "sysu_all_single" in second.stdout
    assert_same_run(fault.folder, local_run)
    # the cluster may still take the first clustering away before its worker, which then warns
    told = [event for event in events(fault.folder) if event["event"] != "warning"]
    assert [event["event"] for event in told] == ["training", "training", "finished"]
    assert seconds_after(fault.marker, fault.folder)["training"] < 90


@pytest.fixture
def two_nodes(ray_cluster: SmallCluster) -> Iterator[dict[str, Any]]:
    """Two more nodes by their id, each with room for one worker and one clustering."""
    added = [
        ray_cluster.handle.add_node(
            num_cpus=2,
            resources={"training": 1, "clustering": 1},
            object_store_memory=100 * 2**20,
            node_ip_address="127.0.0.1",
        )
        for _ in range(2)
    ]
    nodes = {node.node_id: node for node in added}
    deadline = time.monotonic() + 60
    while not _only_these_train(set(nodes)):
        assert time.monotonic() < deadline, "the nodes did not come, or those of the test before did not go"
        time.sleep(0.1)
    yield nodes
    for node in nodes.values():
        ray_cluster.handle.remove_node(node, allow_graceful=False)


def _only_these_train(nodes: set[str]) -> bool:
    living = {node["NodeID"] for node in ray.nodes() if node["Alive"] and "training" in node["Resources"]}
    return living == nodes and ray.available_resources().get("training") == len(nodes)


def show_train_the_nodes() -> None:
    """Makes Train's view of the cluster's nodes a new one; by itself it looks every 20 s."""
    coordinator = get_or_create_autoscaling_coordinator()
    ray.get(coordinator.get_reserved_resources.remote("nobody", recompute=True))


def kill_marked_node(cluster: SmallCluster, nodes: dict[str, Any], marker: Path) -> None:
    """Waits until a process has said on which node it is, and kills that."""
    deadline = time.monotonic() + 240
    while not (said := list(marker.parent.glob(f"{marker.stem}.*"))):
        assert time.monotonic() < deadline, "no process has said where it is"
        time.sleep(0.1)
    marker.write_text(f"{time.time()}")
    cluster.handle.remove_node(nodes.pop(said[0].suffix[1:]), allow_graceful=False)


def test_a_node_may_die_during_training(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    local_run: Path,
    two_nodes: dict[str, Any],
    tmp_path: Path,
):
    marker = tmp_path / "waits"
    cluster = small({"worker_resources": {"training": 1}})
    laid = faults.wait_in_step(marker, rank=0, epoch=2, seconds=60)
    training = InBackground(lambda: disturbed(frozen_config, cluster, tmp_path, laid))
    kill_marked_node(ray_cluster, two_nodes, marker)
    training.result(300)
    folder = tmp_path / "run"
    assert_same_run(folder, local_run)
    assert seconds_after(marker, folder)["training"] < 90


def test_an_elastic_run_goes_on_with_fewer_workers(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    local_run: Path,
    two_nodes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    marker = tmp_path / "waits"
    # as start_timeout_s: until Train sees that the node has gone, it waits for room for both workers
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "20")
    cluster = small({"num_workers": [1, 2], "worker_resources": {"training": 1}})
    laid = faults.wait_in_step(marker, rank=1, epoch=2, seconds=60)
    show_train_the_nodes()
    training = InBackground(lambda: disturbed(frozen_config, cluster, tmp_path, laid))
    kill_marked_node(ray_cluster, two_nodes, marker)
    training.result(300)
    folder = tmp_path / "run"
    torch.testing.assert_close(state(folder)["labels"], state(local_run)["labels"], rtol=0, atol=0)
    assert [event["num_workers"] for event in events(folder) if event["event"] == "training"] == [2, 1]
    assert seconds_after(marker, folder)["training"] < 150


def test_a_node_may_die_during_clustering(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    local_run: Path,
    two_nodes: dict[str, Any],
    tmp_path: Path,
):
    marker = tmp_path / "waits"
    cluster = small({"clustering.resources": {"clustering": 1}})
    laid = faults.in_clustering(marker, faults.wait_to_be_killed)
    training = InBackground(lambda: disturbed(frozen_config, cluster, tmp_path, laid))
    kill_marked_node(ray_cluster, two_nodes, marker)
    training.result(300)
    folder = tmp_path / "run"
    assert_same_run(folder, local_run)
    assert [event["event"] for event in events(folder)] == ["training", "warning", "finished"]
    assert seconds_after(marker, folder)["warning"] < 60
