"""CPUs, GPUs and threads of the clustering tasks."""

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import ClusteringTaskConfig
from cluster.gpus import VISIBLE, hide_all_gpus


def hide_gpus(config: ClusteringTaskConfig) -> None:
    """Makes all GPUs invisible to this process, unless the task reserved some or was lent rank 0's."""
    if not config.num_gpus:
        hide_all_gpus()


def task_threads(config: ClusteringTaskConfig) -> int | None:
    """Returns how many threads a task uses; None means all cores of its machine."""
    if config.num_threads is not None:
        return config.num_threads
    return None if config.borrow else max(1, int(config.num_cpus))


def resolved(config: ClusteringTaskConfig) -> ClusteringTaskConfig:
    """Returns the configuration with the number of GPUs that the task may use: one that borrows has this worker's own.

    Args:
        config: as the user set it. Called in the worker that waits.
    """
    if not config.borrow:
        return config
    lent = own_gpus() if _stays_here(config) and config.shards == 1 else []  # shards compute on CPUs
    return config.model_copy(update={"num_gpus": len(lent)})


def borrowing(config: ClusteringTaskConfig) -> ClusteringTaskConfig:
    """Returns what a task uses that found no room: the CPUs and GPUs of this node's workers, as many threads as before.

    It is one task: shards without CPUs of their own would all start at once, here.

    Args:
        config: of a task whose resources are not free.
    """
    place = {"borrow": True, "shards": 1, "resources": {}, "strategy": "DEFAULT", "num_threads": task_threads(config)}
    return resolved(config.model_copy(update=place))


def can_wait_in_vain(config: ClusteringTaskConfig) -> bool:
    """Returns whether a task needs anything that others may hold for ever."""
    return not config.borrow or bool(config.resources)


def own_gpus() -> list[str]:
    """Returns the GPUs that this process reserved, as the node numbers them."""
    return ray.get_runtime_context().get_accelerator_ids().get("GPU", [])


def task_options(config: ClusteringTaskConfig, name: str) -> dict[str, Any]:
    """Returns the Ray options of a clustering task.

    Args:
        config: resources of the task, see `resolved`.
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
        if _stays_here(config):
            here = ray.get_runtime_context().get_node_id()
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(here, soft=True)
        if config.num_gpus:
            # Ray has processes of its own for each environment. So this one sees no other run's GPU, whoever else
            # clusters on the node: CUDA reads the variable once, before a task could change it.
            options["runtime_env"] = {"env_vars": {VISIBLE: ",".join(own_gpus())}}
    return options


def _stays_here(config: ClusteringTaskConfig) -> bool:
    return not config.resources and config.strategy == "DEFAULT"
