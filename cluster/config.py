"""How a training is laid over a Ray cluster: workers, the clustering task, storage and failures.

A YAML file checked against `ClusterConfig`, plus options of the command. Nothing here changes what is computed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ecul.schema import Strict, check, load_yaml, merge


class ClusteringTaskConfig(Strict):
    """Resources of the clustering, which runs as Ray tasks while the training workers wait.

    Attributes:
        num_cpus: logical CPUs reserved by the task, or by each task of a sharded clustering.
        num_gpus: logical GPUs reserved by it; the neighbour search uses one where it has one.
        num_threads: threads of the task; None = `num_cpus`, or all of the machine when it borrows.
        shards: pieces that the rows are cut into, each a task; 1 = one task does all.
        strategy: Ray's scheduling strategy: `DEFAULT` (near the data), `SPREAD` (over the nodes).
        resources: custom resources, such as {"highmem": 1}, that steer the task to chosen nodes.
        borrow: take the waiting workers' CPUs instead of own ones; None = only where this command started Ray itself.
        max_retries: how often the clustering of an epoch is begun anew after a process or node was lost.
        timeout_s: longest wait for an epoch's clustering, queueing included.
    """

    num_cpus: float = Field(1, ge=0)
    num_gpus: float = Field(0, ge=0)
    num_threads: int | None = Field(None, ge=1)
    shards: int = Field(1, ge=1, le=1024)
    strategy: Literal["DEFAULT", "SPREAD"] = "DEFAULT"
    resources: dict[str, float] = Field(default_factory=dict)
    borrow: bool | None = None
    max_retries: int = Field(3, ge=0)
    timeout_s: float = Field(1500, gt=0)


class ClusterConfig(Strict):
    """Everything about the cluster that a training is told.

    Attributes:
        num_workers: training processes, or (fewest, most) for an elastic run; the global batch must divide by each.
        cpu: train without GPUs, over gloo.
        gpus_per_worker: logical GPUs of a worker.
        cpus_per_worker: logical CPUs of a worker.
        threads_per_worker: torch threads of a worker; None = `cpus_per_worker`.
        worker_resources: custom resources of a worker.
        autoscaling: the cluster grows on demand, so what is missing at the start is waited for instead of refused.
        max_failures: how often the workers are started anew after one was lost; -1 = always.
        num_to_keep: checkpoints kept; None = `runtime.keep_checkpoints` of the training's configuration.
        async_checkpoints: upload a checkpoint while the next epoch already runs.
        process_group_timeout_s: longest wait of a worker for another; more than the clustering's timeout.
        health_check_interval_s: seconds between looks at the workers; also how long a report may wait.
        start_timeout_s: longest wait for a group of workers to start.
        resize_interval_s: seconds between looks whether an elastic run can grow.
        spawn_env: environment variables of the workers and tasks.
    """

    num_workers: int | tuple[int, int] = 1
    cpu: bool = False
    gpus_per_worker: float = Field(1, gt=0)
    cpus_per_worker: float = Field(1, gt=0)
    threads_per_worker: int | None = Field(None, ge=1)
    worker_resources: dict[str, float] = Field(default_factory=dict)
    clustering: ClusteringTaskConfig = ClusteringTaskConfig.model_validate({})
    autoscaling: bool = False
    max_failures: int = Field(3, ge=-1)
    num_to_keep: int | None = Field(None, ge=1)
    async_checkpoints: bool = True
    process_group_timeout_s: int = Field(1800, ge=1)
    health_check_interval_s: float = Field(0.2, gt=0)
    start_timeout_s: float = Field(60, gt=0)
    resize_interval_s: float = Field(60, gt=0)
    spawn_env: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.min_workers < 1 or self.max_workers < self.min_workers:
            raise ValueError(f"num_workers must be at least 1, or [fewest, most] in order; got {self.num_workers}")
        if self.process_group_timeout_s <= self.clustering.timeout_s:
            raise ValueError(
                f"process_group_timeout_s ({self.process_group_timeout_s}) must be more than clustering.timeout_s "
                f"({self.clustering.timeout_s:g}): the other workers wait that long for rank 0"
            )
        return self

    @property
    def min_workers(self) -> int:
        """Fewest workers that the run goes on with."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """Most workers that the run takes."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """Logical resources that a worker reserves."""
        gpus = {} if self.cpu else {"GPU": self.gpus_per_worker}
        return {"CPU": self.cpus_per_worker, **gpus, **self.worker_resources}

    def updated(self, values: Mapping[str, Any]) -> "ClusterConfig":
        """Returns a copy with {dotted path: value} applied.

        Raises:
            ConfigError: an unknown path or a value out of range.
        """
        return parse_cluster_config(merge(self.model_dump(mode="json"), values))


def load_cluster_config(path: str | Path | None, values: Mapping[str, Any] | None = None) -> ClusterConfig:
    """Returns the checked configuration of a YAML file (None: the defaults) with {dotted path: value} applied.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        tree = load_yaml(path, what="cluster configuration", keys="num_workers, clustering", shipped="configs/cluster/")
    return parse_cluster_config(merge(tree, values or {}))


def parse_cluster_config(tree: Mapping[str, Any]) -> ClusterConfig:
    """Returns the checked configuration of a nested mapping.

    Raises:
        ConfigError: a key is unknown or a value is out of range; the text names each.
    """
    return check(ClusterConfig, tree, what="cluster configuration")


def local_defaults(cluster: ClusterConfig, *, at_once: int = 1) -> ClusterConfig:
    """Returns the configuration for a Ray that this process starts for itself, where all cores are free.

    The clustering borrows the workers' CPUs, and workers without GPUs share out the cores as torch threads.

    Args:
        cluster: as the user set it; what is set stays.
        at_once: runs side by side; more torch threads than cores would wait for each other.
    """
    values: dict[str, Any] = {}
    if cluster.clustering.borrow is None:
        values["clustering.borrow"] = True
    if cluster.threads_per_worker is None and cluster.cpu:
        values["threads_per_worker"] = max(1, len(os.sched_getaffinity(0)) // (at_once * cluster.max_workers))
    return cluster.updated(values)
