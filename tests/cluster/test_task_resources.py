import os
from typing import Any

import pytest

from cluster.config import ClusteringTaskConfig
from cluster.failures import describe
from cluster.task_resources import hide_gpus, task_options, task_threads


def config(**values: Any) -> ClusteringTaskConfig:
    return ClusteringTaskConfig.model_validate({"borrow": False} | values)


@pytest.mark.parametrize(("values", "hidden"), [({}, True), ({"num_gpus": 1}, False), ({"borrow": True}, False)])
def test_only_a_task_with_a_gpu_of_its_own_or_a_borrowed_one_sees_gpus(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], hidden: bool
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    hide_gpus(config(**values))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ("" if hidden else "0,1")


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


def test_a_task_that_borrows_reserves_nothing():
    options = task_options(config(borrow=True, num_cpus=4, num_gpus=1, strategy="SPREAD"), "clustering")
    assert (options["num_cpus"], options["num_gpus"]) == (0, 0)


def test_an_error_is_described_by_its_kind_and_first_line():
    assert describe(ValueError("\n one \n two")) == "ValueError: one"
    assert describe(KeyError()) == "KeyError"
    assert len(describe(OSError("x" * 1000))) == len("OSError: ") + 200
