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
    """Resources of the clustering, which runs as Ray tasks while the training workers wait."""

    num_cpus: float = Field(1, ge=0)
    """Logical CPUs reserved by the task, or by each task of a sharded clustering. Reserved beside the workers' own
    unless it borrows."""
    num_gpus: float = Field(0, ge=0)
    """Logical GPUs reserved by it; the neighbour search uses one where it has one. That GPU idles while steps run."""
    num_threads: int | None = Field(None, ge=1)
    """Threads of the task; null = `num_cpus`, or all of the machine when it borrows."""
    shards: int = Field(1, ge=1, le=1024)
    """Pieces that the rows are cut into, each a task; 1 = one task does all. Worth it from 4 on, or where one machine
    lacks the memory: the search then computes twice the products."""
    strategy: Literal["DEFAULT", "SPREAD"] = "DEFAULT"
    """Ray's scheduling strategy: `DEFAULT` (near the data) or `SPREAD` (over the nodes)."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Custom resources, such as {highmem: 1}, that steer the task to chosen nodes."""
    borrow: bool | None = None
    """Take the waiting workers' CPUs instead of CPUs of its own; null = only where the command started Ray itself.
    Right on one machine and on GPU nodes with many cores."""
    max_retries: int = Field(3, ge=0)
    """How often the clustering of an epoch is started again after a process or node was lost."""
    timeout_s: float = Field(1500, gt=0)
    """Longest wait for an epoch's clustering in seconds, queueing included; then the run ends with an error."""


class ClusterConfig(Strict):
    """Everything about the cluster that a training is told."""

    num_workers: int | tuple[int, int] = 1
    """Training processes, or [fewest, most] for an elastic run; the global batch must divide by each number in it."""
    cpu: bool = False
    """Train without GPUs, over gloo."""
    gpus_per_worker: float = Field(1, gt=0)
    """Logical GPUs of a worker."""
    cpus_per_worker: float = Field(1, gt=0)
    """Logical CPUs of a worker. They decode images; more help where images are not kept in memory."""
    threads_per_worker: int | None = Field(None, ge=1)
    """Torch threads of a worker; null = `cpus_per_worker`. More than cores make workers wait for each other."""
    worker_resources: dict[str, float] = Field(default_factory=dict)
    """Custom resources of a worker, such as {rack1: 1}, that steer workers to chosen nodes."""
    clustering: ClusteringTaskConfig = ClusteringTaskConfig.model_validate({})
    """The clustering."""
    autoscaling: bool = False
    """The cluster grows on demand, so what is missing at the start is waited for instead of refused."""
    max_failures: int = Field(3, ge=-1)
    """How often the workers are started again after one was lost; -1 = always."""
    num_to_keep: int | None = Field(None, ge=1)
    """Newest checkpoints that are kept; null = `runtime.keep_checkpoints` of the training's configuration."""
    async_checkpoints: bool = True
    """Upload a checkpoint while the next epoch already runs. Saves the wait; a failure may cost one more epoch."""
    process_group_timeout_s: int = Field(1800, ge=1)
    """Longest wait of a worker for another in seconds; must be more than `clustering.timeout_s`."""
    health_check_interval_s: float = Field(0.2, gt=0)
    """Seconds between two looks at the workers, which is also how long a report may wait. Smaller notices losses
    sooner and works the controller more (Ray's default: 2)."""
    start_timeout_s: float = Field(60, gt=0)
    """Longest wait for a group of workers to start, in seconds. Elastic runs wait so long for a lost node before they
    continue with fewer workers."""
    resize_interval_s: float = Field(60, gt=0)
    """Seconds between two looks whether an elastic run can grow."""
    spawn_env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the workers and tasks. They are stored with the run: no secrets."""

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
