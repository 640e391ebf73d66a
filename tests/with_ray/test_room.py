"""A clustering whose resources others hold borrows; nothing of a failed attempt goes on; nobody takes another's GPU."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle

from cluster.attempt import Attempt
from cluster.config import ClusterConfig, ClusteringTaskConfig
from cluster.remote_clustering import RemoteClustering
from cluster.task_resources import hide_gpus, resolved, task_options
from ecul.clustering.pipeline import cluster_epoch
from ecul.settings import clustering_parameters
from ecul.types import ClusteringRequest
from tests.with_ray.runs import SmallCluster, all_cpus_held, nodes_of_a_test
from tests.with_ray.test_shards import assert_equal, people

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize("shards", [1, 3])
def test_a_clustering_without_room_borrows_until_there_is_room_again(
    ray_cluster: SmallCluster, small: Callable[..., ClusterConfig], shards: int
):
    bank = people(200)
    request = ClusteringRequest(clustering_parameters("emcc", {"k1": 6, "k2": 3, "k3": 6, "eps": 0.5}))
    expected = cluster_epoch(bank, request, num_threads=1)
    warnings: list[str] = []
    cluster = small({"clustering.shards": shards, "clustering.borrow_after_s": 3, "clustering.timeout_s": 60})
    clustering = RemoteClustering(cluster.clustering, warnings.append)
    with all_cpus_held():
        clustering.warm_up()
        for _ in range(2):
            borrowed = clustering(bank, request)
            assert_equal(borrowed, expected)
            assert borrowed.diagnostics["task/borrowed"] == 1
    (warning,) = warnings  # the second time is no news
    assert "could not begin within 3 s (needs 1 CPUs, 0 GPUs; free now: 0 CPUs" in warning
    deadline = time.monotonic() + 60  # a loaded machine may need longer than three seconds to start a process
    while (own := clustering(bank, request)).diagnostics["task/borrowed"]:
        assert time.monotonic() < deadline, "it borrows although there is room"
    assert_equal(own, expected)


def wait_long(told: Path) -> None:
    told.write_text(str(os.getpid()))
    time.sleep(600)


def fail_once_told(told: Path) -> None:
    while not told.exists():
        time.sleep(0.05)
    raise ValueError("broken")


def test_the_other_tasks_of_a_failed_attempt_are_ended(ray_cluster: SmallCluster, tmp_path: Path):
    tasks = Attempt({"num_cpus": 1, "max_retries": 0})
    tasks.submit(wait_long, tmp_path / "told")
    with pytest.raises(ValueError, match="broken"):
        ray.get(tasks.submit(fail_once_told, tmp_path / "told"))
    assert not tasks.is_waiting()  # the other one runs
    tasks.end()
    process = int((tmp_path / "told").read_text())
    deadline = time.monotonic() + 30
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(process, 0)
            time.sleep(0.1)
        pytest.fail("a task of the attempt still runs")


@pytest.fixture
def node_with_gpus(ray_cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """A node that says it has four GPUs; what puts a process on it."""
    # a command that reserves no GPU hides them from its process, which is this one, and so from what it starts
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with nodes_of_a_test(ray_cluster, num_cpus=2, num_gpus=4, resources={"gpus": 10}):
        yield {"gpus": 1}


def seen_by(config: ClusteringTaskConfig) -> str:
    """What the clustering's task sees. Runs in the task."""
    hide_gpus(config)
    return os.environ["CUDA_VISIBLE_DEVICES"]


class Worker:
    """A training worker, as far as GPUs matter."""

    def own(self) -> list[str]:
        return ray.get_runtime_context().get_accelerator_ids()["GPU"]

    def seen(self, values: dict[str, Any]) -> str:
        config = resolved(ClusteringTaskConfig.model_validate(values))
        return ray.get(Attempt(task_options(config, "clustering")).submit(seen_by, config))


def test_a_borrowing_clustering_sees_the_gpus_of_its_own_worker_only(node_with_gpus: dict[str, float]):
    def worker(gpus: float) -> Any:
        return ray.remote(Worker).options(num_gpus=gpus, num_cpus=0, resources=node_with_gpus).remote()

    others, rank0, without = worker(2), worker(1), worker(0)
    theirs, own = ray.get([others.own.remote(), rank0.own.remote()])
    assert len(own) == 1
    assert own[0] not in theirs
    borrow = {"borrow": True}
    assert ray.get(rank0.seen.remote(borrow)) == own[0]
    assert ray.get(others.seen.remote(borrow)) == ",".join(theirs)
    assert ray.get(without.seen.remote(borrow)) == ""  # it trains on CPUs
    assert ray.get(rank0.seen.remote({"num_cpus": 1, "borrow": False})) == ""
