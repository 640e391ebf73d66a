"""CPUs, GPUs and threads of the clustering tasks."""

import os
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import ClusteringTaskConfig
from cluster.gpus import hide_all_gpus


def hide_gpus(config: ClusteringTaskConfig) -> None:
    """Makes all GPUs invisible to this process, unless the task reserved one or borrows the waiting worker's."""
    if not config.num_gpus and not config.borrow:
        hide_all_gpus()


def task_threads(config: ClusteringTaskConfig) -> int | None:
    """Returns how many threads a task uses; None means all cores of its machine."""
    if config.num_threads is not None:
        return config.num_threads
    return None if config.borrow else max(1, int(config.num_cpus))


def use_threads(num_threads: int | None) -> None:
    """Sets torch's number of threads. The clustering's own kernels take theirs as an argument instead."""
    import torch

    # Ray starts its processes with OMP_NUM_THREADS=1, so without this call torch would use one thread.
    torch.set_num_threads(num_threads or len(os.sched_getaffinity(0)))


def task_options(config: ClusteringTaskConfig, name: str) -> dict[str, Any]:
    """Returns the Ray options of a clustering task.

    Args:
        config: resources of the task.
        name: shown in Ray's dashboard.
    """
    # Ray's own retries are off: `RemoteClustering` retries, reports each loss and stores the features again.
    options: dict[str, Any] = {"max_retries": 0, "name": name, "num_cpus": config.num_cpus, "num_gpus": config.num_gpus}
    if config.resources:
        options["resources"] = dict(config.resources)
    options["scheduling_strategy"] = config.strategy
    if config.borrow:
        options |= {"num_cpus": 0, "num_gpus": 0}
        # The CPUs that it borrows belong to the workers that wait, and rank 0 is one of them: stay on its machine.
        if not config.resources and config.strategy == "DEFAULT":
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=True)
    return options
