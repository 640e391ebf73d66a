"""Processes and nodes are killed. The training ends as if nothing had happened, and the run directory records it."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator

from cluster.config import ClusterConfig
from cluster.trainer import build_trainer, run
from ecul.config import Config
from tests.with_ray import faults
from tests.with_ray.runs import (
    InBackground,
    SmallCluster,
    assert_same_run,
    events,
    nodes_of_a_test,
    seconds_after,
    state,
)

faults.by_value()


def disturbed(config: Config, cluster: ClusterConfig, storage: Path, *laid: Callable[[], None]) -> Path:
    """Trains with faults and returns the run's folder."""
    trainer = build_trainer(config, cluster, name="run", storage=str(storage))
    trainer.train_loop_per_worker = faults.with_faults(*laid)
    run(trainer)
    return storage / "run"


def test_a_worker_that_dies_in_a_step_is_replaced(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    own_statistics: Config,
    own_ranks: Path,
    tmp_path: Path,
):
    marker = tmp_path / "died"
    # another place each time; a failure prints it
    epoch, step = random.randint(1, own_statistics.num_epochs), random.randint(1, own_statistics.stages.iterations)
    print(f"rank 1 dies before step {step} of epoch {epoch}")
    laid = faults.die_in_step(marker, rank=1, epoch=epoch, step=step)
    folder = disturbed(own_statistics, small({"num_workers": 2}), tmp_path, laid)
    assert_same_run(folder, own_ranks)
    told = events(folder)
    assert [event["event"] for event in told if event["event"] != "worker_failed"] == [
        "training",
        "training",
        "finished",
    ]
    assert 1 in {event["rank"] for event in told if event["event"] == "worker_failed"}
    # the upload of the last epoch's checkpoint may have been under way
    assert max(0, epoch - 2) <= told[-2]["after_epoch"] < epoch
    assert seconds_after(marker, folder)["training"] < 90


@pytest.fixture
def two_nodes(ray_cluster: SmallCluster) -> Iterator[dict[str, Any]]:
    """Two more nodes by their id, each with room for one worker."""
    with nodes_of_a_test(ray_cluster, 2, num_cpus=1, resources={"training": 1}) as nodes:
        deadline = time.monotonic() + 60
        while not _only_these_train(set(nodes)):
            assert time.monotonic() < deadline, "the nodes did not come"
            time.sleep(0.1)
        yield nodes


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
    # as start_timeout_s: until Train sees that the node has gone, it asks for room for both workers again and again
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "2")
    cluster = small({"num_workers": [1, 2], "worker_resources": {"training": 1}})
    laid = faults.wait_in_step(marker, rank=1, epoch=2, seconds=60)
    show_train_the_nodes()
    training = InBackground(lambda: disturbed(frozen_config, cluster, tmp_path, laid))
    kill_marked_node(ray_cluster, two_nodes, marker)
    folder = training.result(300)
    torch.testing.assert_close(state(folder)["labels"], state(local_run)["labels"], rtol=0, atol=0)
    assert [event["num_workers"] for event in events(folder) if event["event"] == "training"] == [2, 1]
    assert seconds_after(marker, folder)["training"] < 150


def test_node_of_the_worker_and_process_and_node_of_the_clustering_may_die(
    ray_cluster: SmallCluster,
    small: Callable[..., ClusterConfig],
    frozen_config: Config,
    local_run: Path,
    two_nodes: dict[str, Any],
    tmp_path: Path,
):
    died, waits, trains = tmp_path / "died", tmp_path / "waits", tmp_path / "trains"
    cluster = small({"worker_resources": {"training": 1}, "clustering.resources": {"clustering": 1}})
    laid = (
        # the first attempt's process dies, then the node of the second
        faults.in_clustering(waits, faults.wait_to_be_killed),
        faults.in_clustering(died, faults.die),
        faults.wait_in_step(trains, rank=0, epoch=2, seconds=60),
    )
    with nodes_of_a_test(ray_cluster, 2, num_cpus=1, resources={"clustering": 1}) as clustering_nodes:
        training = InBackground(lambda: disturbed(frozen_config, cluster, tmp_path, *laid))
        kill_marked_node(ray_cluster, clustering_nodes, waits)
        kill_marked_node(ray_cluster, two_nodes, trains)
        folder = training.result(300)
    assert_same_run(folder, local_run)
    told = [event["event"] for event in events(folder) if event["event"] != "worker_failed"]
    assert told == ["training", "warning", "warning", "training", "finished"]
    first, second = (event["message"] for event in events(folder) if event["event"] == "warning")
    assert "clustering attempt 1 was lost (WorkerCrashedError" in first
    assert "clustering attempt 2 was lost (" in second
    assert seconds_after(died, folder)["warning"] < 30
    assert seconds_after(waits, folder)["warning"] < 60
    assert seconds_after(trains, folder)["training"] < 90
