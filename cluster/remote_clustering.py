"""The epoch's clustering as a Ray task: the features go to the object store once, compact labels come back.

The other workers wait meanwhile, so their CPUs are free for it in any case. A task whose own resources others hold
therefore runs on those CPUs instead, and no two runs can wait for each other.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
import ray.exceptions

from cluster.attempt import Attempt
from cluster.config import ClusteringTaskConfig
from cluster.failures import LOST, cause_of, describe
from cluster.gpus import free_gpu_memory
from cluster.sharded_clustering import TaskGraph
from cluster.task_resources import (
    borrowing,
    can_wait_in_vain,
    hide_gpus,
    resolved,
    task_options,
    task_threads,
)
from ecul.errors import EculError, TrainingError
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank

log = logging.getLogger(__name__)
_NOTICE_S = 30.0
_POLL_S = 1.0
_BRIEF_S = 10.0
"""How long an epoch waits for resources that were not free in the epoch before; enough to start a process."""


def cluster_bank(
    bank: FeatureBank, request: ClusteringRequest, config: ClusteringTaskConfig
) -> tuple[ClusteringResult, float]:
    """Returns the labels and the seconds that the clustering took. Runs in the task.

    Args:
        bank: read-only memory of the object store.
        request: the clusterings that the epoch needs.
        config: resources of the task.
    """
    hide_gpus(config)
    from ecul.clustering.pipeline import cluster_epoch

    start = time.perf_counter()
    try:
        result = cluster_epoch(bank, request, num_threads=task_threads(config))
    finally:
        free_gpu_memory()
    return result, time.perf_counter() - start


def import_engine(config: ClusteringTaskConfig) -> None:
    """Imports the clustering, which takes seconds, before the first clustering needs it. Runs in a task."""
    hide_gpus(config)
    import ecul.clustering.pipeline  # noqa: F401


class _NoRoomError(Exception):
    """No task of an attempt could begin in time."""


class RemoteClustering:
    """A `ClusteringFn` that runs the clustering as a task somewhere in the cluster."""

    def __init__(self, config: ClusteringTaskConfig, warn: Callable[[str], None]) -> None:
        """Starts nothing yet. Called in the worker that will wait.

        Args:
            config: resources, retries and time limit of the task.
            warn: receives a message for each lost process, and where the task borrows what it could not reserve.
        """
        self._config = resolved(config)
        self._warn = warn
        self._had_room = True
        self._warm_up: Any = None

    def warm_up(self) -> None:
        """Starts a task's process while the data is opened and first embedded; nothing waits for it."""
        task = ray.remote(import_engine).options(**task_options(self._config, "clustering"))
        self._warm_up = task.remote(self._config)

    def __call__(self, bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        """Returns the epoch's pseudo-labels, with times and size of the transfer among the diagnostics.

        Raises:
            TrainingError: processes were lost more often than `max_retries`, or `timeout_s` passed, or the clustering
                raised an error, which it would raise again.
        """
        deadline = time.monotonic() + self._config.timeout_s
        for attempt in range(self._config.max_retries + 1):
            try:
                return self._somewhere(bank, request, deadline, attempt)
            except LOST as error:
                self._warn(f"clustering attempt {attempt + 1} was lost ({describe(error)}); trying again")
            except ray.exceptions.RayTaskError as error:
                cause = cause_of(error)
                raise (
                    cause
                    if isinstance(cause, EculError)
                    else TrainingError(f"the clustering failed: {describe(error)}")
                ) from error
        raise TrainingError(
            f"the clustering's process was lost {self._config.max_retries + 1} times in one epoch; if memory ran out, "
            "give it a larger machine (clustering.resources) or raise clustering.shards"
        )

    def _somewhere(
        self, bank: FeatureBank, request: ClusteringRequest, deadline: float, attempt: int
    ) -> ClusteringResult:
        """Clusters on resources of its own if they are free soon enough, else on those of the workers that wait."""
        start = time.perf_counter()
        patience = self._config.patience_s if can_wait_in_vain(self._config) else None
        if patience is not None and not self._had_room:
            patience = min(_BRIEF_S, patience)
        try:
            result = self._once(bank, request, self._config, deadline, attempt, start, patience)
            self._had_room = True
            return result
        except _NoRoomError:
            if self._warm_up is not None:
                ray.cancel(self._warm_up)
            state = f"needs {_needs(self._config)}; {_free()}"
            if self._had_room:
                self._warn(
                    f"the clustering could not begin within {patience:g} s ({state}); it uses the CPUs of the waiting "
                    "workers instead, until there is room again (clustering.borrow_after_s)"
                )
                self._had_room = False
            else:
                log.info("the clustering borrows again: %s", state)
        # Not in the handler: the error holds the features of the first try, which would lie in the store twice.
        return self._once(bank, request, borrowing(self._config), deadline, attempt, start, None)

    def _once(
        self,
        bank: FeatureBank,
        request: ClusteringRequest,
        config: ClusteringTaskConfig,
        deadline: float,
        attempt: int,
        start: float,
        patience: float | None,
    ) -> ClusteringResult:
        tasks = Attempt(task_options(config, "clustering"))
        wait = self._wait_until(deadline, config, tasks, patience)
        put_start = time.perf_counter()
        try:
            if config.shards > 1:
                from ecul.clustering.pipeline import cluster_epoch

                graph = TaskGraph(config, tasks, wait)
                result = cluster_epoch(bank, request, graph)
                put_seconds = graph.put_seconds
                seconds = time.perf_counter() - put_start - put_seconds
            else:
                reference = ray.put(bank)
                put_seconds = time.perf_counter() - put_start
                result, seconds = wait(tasks.submit(cluster_bank, reference, request, config))
        finally:
            tasks.end()
        transfer = {
            "task/put_seconds": put_seconds,
            "task/seconds": seconds,
            "task/overhead_seconds": time.perf_counter() - start - seconds,
            "task/object_mib": bank.features.nbytes / 2**20,
            "task/attempts": attempt + 1.0,
            "task/borrowed": float(bool(config.borrow)),
        }
        return replace(result, diagnostics=dict(result.diagnostics) | transfer)

    def _wait_until(
        self, deadline: float, config: ClusteringTaskConfig, tasks: Attempt, patience: float | None
    ) -> Callable[[Any], Any]:
        """Returns a `ray.get` that logs once what it waits for, and raises at the deadline or where nothing begins."""
        poll = _POLL_S if patience is None else min(_POLL_S, max(0.05, patience / 4))

        def wait(reference: Any) -> Any:
            began = alive = time.monotonic()
            noticed = False
            while not ray.wait([reference], timeout=min(poll, max(0.0, deadline - time.monotonic())))[0]:
                now = time.monotonic()
                if now >= deadline:
                    raise TrainingError(
                        f"the clustering did not end within clustering.timeout_s={config.timeout_s:g} s; "
                        f"it needs {_needs(config)}; {_free()}"
                    )
                if patience is not None:
                    if not tasks.is_waiting():
                        alive = now
                    elif now - alive >= patience:
                        raise _NoRoomError
                if not noticed and now - began >= _NOTICE_S:
                    log.info("waiting for the clustering; %s", _free())
                    noticed = True
            return ray.get(reference)

        return wait


def _needs(config: ClusteringTaskConfig) -> str:
    if config.borrow:
        return ", ".join(f"{amount:g} {name}" for name, amount in config.resources.items()) or "nothing of its own"
    amounts = {"CPUs": config.num_cpus, "GPUs": config.num_gpus, **config.resources}
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items())


def _free() -> str:
    free = ray.available_resources()
    return f"free now: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
