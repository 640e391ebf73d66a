import os
import subprocess
import sys
from typing import Any

import pytest

from cluster.config import ClusteringTaskConfig
from cluster.failures import describe
from cluster.gpus import free_gpu_memory
from cluster.task_resources import borrowing, can_wait_in_vain, hide_gpus, resolved, task_options, task_threads


def config(**values: Any) -> ClusteringTaskConfig:
    return ClusteringTaskConfig.model_validate({"borrow": False} | values)


@pytest.mark.parametrize(
    ("values", "own", "hidden"),
    [
        ({}, ["3"], True),
        ({"num_gpus": 1}, ["3"], False),
        ({"borrow": True}, ["3"], False),
        ({"borrow": True, "num_gpus": 1}, [], True),  # workers without GPUs have none to lend
        ({"borrow": True, "shards": 4}, ["3"], True),
        ({"borrow": True, "resources": {"highmem": 1}}, ["3"], True),  # on another node that number is another's
        ({"borrow": True, "strategy": "SPREAD"}, ["3"], True),
    ],
)
def test_only_a_task_with_a_gpu_of_its_own_or_a_borrowed_one_sees_gpus(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], own: list[str], hidden: bool
):
    monkeypatch.setattr("cluster.task_resources.own_gpus", lambda: own)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    hide_gpus(resolved(config(**values)))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("" if hidden else "0,1")


def test_a_task_without_room_borrows_with_as_many_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cluster.task_resources.own_gpus", lambda: [])
    reserving = config(num_cpus=3, num_gpus=1, resources={"highmem": 1}, strategy="SPREAD")
    assert can_wait_in_vain(reserving)
    borrowed = borrowing(reserving)
    assert not can_wait_in_vain(borrowed)
    assert (borrowed.borrow, borrowed.num_gpus, borrowed.resources, borrowed.strategy) == (True, 0, {}, "DEFAULT")
    assert task_threads(borrowed) == 3
    assert borrowing(config(shards=4)).shards == 1
    assert can_wait_in_vain(config(borrow=True, resources={"highmem": 1}))


@pytest.mark.gpu
def test_a_task_leaves_no_memory_on_a_gpu():
    import torch

    kept = torch.ones(2**20, device="cuda")
    del kept
    assert torch.cuda.memory_reserved() > 0
    free_gpu_memory()
    assert torch.cuda.memory_reserved() == torch.cuda.memory_allocated()


def test_threads_follow_the_reserved_cpus_unless_they_are_set():
    assert task_threads(config(num_cpus=2.5)) == 2
    assert task_threads(config(num_cpus=0.5)) == 1
    assert task_threads(config(num_cpus=4, num_threads=3)) == 3
    assert task_threads(config(borrow=True, num_cpus=4)) is None  # all cores of the machine


def test_a_task_reserves_what_is_configured_and_retries_are_ours():
    options = task_options(config(num_cpus=4, num_gpus=1, resources={"highmem": 1}, strategy="SPREAD"), "clustering")
    assert options == {
        "max_retries": 0,
        "name": "clustering",
        "num_cpus": 4,
        "num_gpus": 1,
        "resources": {"highmem": 1},
        "scheduling_strategy": "SPREAD",
    }


def test_a_task_that_borrows_reserves_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cluster.task_resources.own_gpus", lambda: ["3"])
    spread = resolved(config(borrow=True, num_cpus=4, num_gpus=1, strategy="SPREAD"))
    options = task_options(spread, "clustering")
    assert (options["num_cpus"], options["num_gpus"]) == (0, 0)
    assert "runtime_env" not in options


def test_an_error_is_described_by_its_kind_and_first_line():
    assert describe(ValueError("\n one \n two")) == "ValueError: one"
    assert describe(KeyError()) == "KeyError"
    assert len(describe(OSError("x" * 1000))) == len("OSError: ") + 200


def test_a_clustering_on_cpus_waits_for_no_torch():
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from cluster.config import ClusteringTaskConfig\n"
        "from cluster.remote_clustering import cluster_bank\n"
        "from ecul.settings import clustering_parameters\n"
        "from ecul.types import ClusteringRequest, FeatureBank\n"
        "bank = FeatureBank(np.eye(40, 8, dtype=np.float32) + np.eye(40, 8, -8, np.float32) + np.float32(1),\n"
        "                   np.arange(40, dtype=np.int32) % 2, np.arange(40, dtype=np.int32) % 4)\n"
        "bank.features[:] /= np.linalg.norm(bank.features, axis=1, keepdims=True)\n"
        "request = ClusteringRequest(clustering_parameters('emcc', {'k1': 6, 'k2': 3, 'k3': 6}))\n"
        "cluster_bank(bank, request, ClusteringTaskConfig(borrow=False))\n"
        "sys.exit('torch' in sys.modules and 'torch was imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
