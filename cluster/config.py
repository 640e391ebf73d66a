"""How a training is laid over a Ray cluster: workers, the clustering task, storage and failures.

A YAML file checked against `ClusterConfig`, plus options of the command. Nothing here changes what is computed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ecul.errors import ConfigError
from ecul.schema import Strict, check, load_yaml, merge

_SMALL_SHARE = 0.001  # of a node's one accelerator_type:NAME, as Ray itself asks for it


class ClusteringTaskConfig(Strict):
    """Resources of the clustering, which runs as Ray tasks while the training workers wait."""

    num_cpus: float = Field(1, ge=0)
    """Logical CPUs reserved by the task, or by each task of a sharded clustering. Reserved beside the workers' own
    unless it borrows."""
    num_gpus: float = Field(0, ge=0)
    """Logical GPUs reserved by the task. The neighbour search uses one if it has one; that GPU then idles in the
    steps."""
    num_threads: int | None = Field(None, ge=1)
    """Threads of the task; null = `clustering.num_threads` of the training's configuration; without that,
    `num_cpus`, or all cores of the machine when it borrows."""
    shards: int = Field(1, ge=1, le=1024)
    """Row ranges that search and encoding are divided into, each a task; 1 = one task does everything. Use it from 4
    on, or if one machine lacks the memory: the search then computes twice the products. Shards use no GPU."""
    strategy: Literal["DEFAULT", "SPREAD"] = "DEFAULT"
    """Ray's scheduling strategy: `DEFAULT` (near the data) or `SPREAD` (over the nodes)."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Custom resources, such as {highmem: 1}, that put the task on chosen nodes."""
    borrow: bool | None = None
    """Use the CPUs of the waiting workers, and rank 0's GPU, instead of reserving some; null = only with `--address
    local`. Right on one machine and on GPU nodes with many cores."""
    borrow_after_s: float | None = Field(60, ge=0)
    """If what the task reserves is not free for so many seconds (at most half of `timeout_s`), it borrows instead (see
    `borrow`), with a warning, and leaves `resources` out; null = wait until `timeout_s`. Less saves waiting on a busy
    cluster; more, or null, is for a rank 0 without the memory for it, or a cluster that must grow first."""
    max_retries: int = Field(3, ge=0)
    """How often the clustering of an epoch is restarted after a process or node was lost."""
    timeout_s: float = Field(1500, gt=0)
    """Longest wait for an epoch's clustering in seconds, with the wait for resources. After it the run ends with an
    error."""

    @property
    def patience_s(self) -> float | None:
        """Seconds that a task waits for what it reserves before it borrows, so that it can still end in time."""
        return None if self.borrow_after_s is None else min(self.borrow_after_s, self.timeout_s / 2)

    @model_validator(mode="after")
    def _shards_use_no_gpu(self) -> Self:
        if self.shards > 1 and self.num_gpus:
            raise ValueError(
                f"shards={self.shards} with num_gpus={self.num_gpus:g}: shards search on CPUs, so the GPUs would idle; "
                "use shards=1 or num_gpus=0"
            )
        return self


class ClusterConfig(Strict):
    """How many workers a training has, their resources, and what happens when one is lost."""

    num_workers: int | tuple[int, int] = 1
    """Training processes, or [fewest, most] for an elastic run; the global batch must divide by each number in it."""
    cpu: bool = False
    """Train without GPUs, over gloo."""
    gpus_per_worker: float = Field(1, gt=0)
    """Logical GPUs of a worker."""
    cpus_per_worker: float = Field(1, gt=0)
    """Logical CPUs of a worker. They decode images; more of them help if the images are not kept in memory."""
    threads_per_worker: int | None = Field(None, ge=1)
    """Torch threads of a worker; null = `cpus_per_worker`; with `--address local` and `cpu`, the cores divided by the
    workers. More threads than cores make workers wait for each other."""
    worker_resources: dict[str, float] = Field(default_factory=dict)
    """Custom resources of a worker, such as {rack1: 1}, that put workers on chosen nodes."""
    placement_strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    """Ray's placement of the workers: `PACK` (on few nodes, so that gradients stay inside a machine) or `SPREAD` (over
    many, so that each worker has more memory and disk). With `STRICT_` all of them must be on one node, or each on
    another; a cluster that cannot do that is refused."""
    accelerator_type: str | None = None
    """Workers go only to nodes whose GPU Ray calls so, such as `A100` or `H100` (ray.util.accelerators); null = any.
    One slow GPU makes all workers wait."""
    clustering: ClusteringTaskConfig = ClusteringTaskConfig.model_validate({})
    """Resources of the clustering."""
    autoscaling: bool = False
    """The cluster grows on demand, so a run waits for missing resources instead of being refused."""
    max_failures: int = Field(3, ge=-1)
    """How often in a row all workers are restarted without finishing an epoch in between; a finished epoch gives the
    whole budget back. -1 = 10: an error that comes back at once never restarts for ever. Nodes that a provider takes
    back do not count."""
    busy_timeout_s: float | None = Field(None, gt=0)
    """Longest wait for resources that others use, in seconds; null = no limit. A waiting run says after 30 s, and then
    every 3 minutes, what it needs and what is free."""
    num_to_keep: int | None = Field(None, ge=1)
    """How many of the newest checkpoints are kept; null = `runtime.keep_checkpoints` of the training's settings."""
    async_checkpoints: bool = True
    """Upload a checkpoint while the next epoch runs. Saves the wait; a failure may cost one more epoch."""
    process_group_timeout_s: int = Field(1800, ge=1)
    """Longest wait of one worker for another in seconds; must be more than `clustering.timeout_s`."""
    health_check_interval_s: float = Field(0.2, gt=0)
    """Seconds between two checks of the workers, which is also how long a report may wait. With a smaller number losses
    are noticed sooner and the controller has more work (Ray's default: 2)."""
    start_timeout_s: float = Field(60, gt=0)
    """Longest wait for the resources of all workers, in seconds. An elastic run may wait this long for a lost node
    before it continues with fewer workers."""
    resize_interval_s: float = Field(60, gt=0)
    """Seconds between two checks whether an elastic run can grow."""
    train_tab: bool | None = None
    """Show the run in the Train tab of Ray's dashboard; null = unless the command starts Ray itself (`--address
    local`). Costs a small process on the head, which stays as long as the cluster."""
    spawn_env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the workers and tasks. They are stored with the run: no secrets."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.min_workers < 1 or self.max_workers < self.min_workers:
            raise ValueError(f"num_workers must be at least 1, or [fewest, most] in order; got {self.num_workers}")
        if not self.cpu and self.gpus_per_worker < 1 and self.max_workers > 1:
            raise ValueError(
                f"gpus_per_worker is {self.gpus_per_worker:g} with several workers: they would share a GPU, which NCCL "
                "refuses; use 1, or one worker"
            )
        if self.cpu and self.accelerator_type is not None:
            raise ValueError(f"accelerator_type={self.accelerator_type} needs GPUs, and cpu=true uses none")
        if self.process_group_timeout_s <= self.clustering.timeout_s:
            raise ValueError(
                f"process_group_timeout_s ({self.process_group_timeout_s}) must be more than clustering.timeout_s "
                f"({self.clustering.timeout_s:g}): the other workers wait that long for rank 0"
            )
        return self

    @property
    def min_workers(self) -> int:
        """Fewest workers that the run continues with."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """Most workers that the run uses."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def resources_per_worker(self) -> dict[str, float]:
        """Logical resources that a worker reserves."""
        gpus = {} if self.cpu else {"GPU": self.gpus_per_worker}
        kind = {} if self.accelerator_type is None else {f"accelerator_type:{self.accelerator_type}": _SMALL_SHARE}
        return {"CPU": self.cpus_per_worker, **gpus, **kind, **self.worker_resources}

    def updated(self, values: Mapping[str, Any]) -> "ClusterConfig":
        """Returns a copy with {dotted path: value} applied.

        Raises:
            ConfigError: an unknown path or a value out of range.
        """
        return parse_cluster_config(merge(self.model_dump(mode="json", exclude_unset=True), values))


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


def with_clustering_threads(cluster: ClusterConfig, num_threads: int | None) -> ClusterConfig:
    """Returns the configuration with the training's own number of clustering threads.

    Args:
        cluster: as the user set it.
        num_threads: `clustering.num_threads` of the training's configuration; None changes nothing.

    Raises:
        ConfigError: both configurations set the number, to different values.
    """
    if num_threads is None:
        return cluster
    own = cluster.clustering.num_threads
    if own not in (None, num_threads):
        raise ConfigError(
            f"clustering.num_threads is {num_threads} in the training's configuration and {own} in the cluster's; "
            "set one of them"
        )
    return cluster.updated({"clustering.num_threads": num_threads})


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
    if cluster.train_tab is None:
        values["train_tab"] = False
    if cluster.threads_per_worker is None and cluster.cpu:
        values["threads_per_worker"] = max(1, len(os.sched_getaffinity(0)) // (at_once * cluster.max_workers))
    return cluster.updated(values)
