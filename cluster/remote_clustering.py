"""The epoch's clustering as a Ray task: the features go to the object store once, compact labels come back."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ray
import ray.exceptions

from cluster.config import ClusteringTaskConfig
from cluster.failures import LOST, describe
from cluster.sharded_clustering import TaskGraph
from cluster.task_resources import hide_gpus, task_options, task_threads, use_threads
from ecul.errors import TrainingError
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank

log = logging.getLogger(__name__)
_NOTICE_S = 30.0


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
    use_threads(task_threads(config))
    from ecul.clustering.pipeline import cluster_epoch

    start = time.perf_counter()
    result = cluster_epoch(bank, request, num_threads=task_threads(config))
    return result, time.perf_counter() - start


def import_engine(config: ClusteringTaskConfig) -> None:
    """Imports the clustering, which takes seconds, before the first clustering needs it. Runs in a task."""
    hide_gpus(config)
    use_threads(task_threads(config))
    import ecul.clustering.pipeline  # noqa: F401


class RemoteClustering:
    """A `ClusteringFn` that runs the clustering as a task somewhere in the cluster."""

    def __init__(self, config: ClusteringTaskConfig, warn: Callable[[str], None]) -> None:
        """Starts nothing yet.

        Args:
            config: resources, retries and time limit of the task.
            warn: receives a message for each lost process.
        """
        self._config = config
        self._warn = warn

    def warm_up(self) -> None:
        """Starts a task's process while the data is opened and first embedded; nothing waits for it."""
        ray.remote(import_engine).options(**task_options(self._config, "clustering")).remote(self._config)

    def __call__(self, bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        """Returns the epoch's pseudo-labels, with times and size of the transfer among the diagnostics.

        Raises:
            TrainingError: processes were lost more often than `max_retries`, or `timeout_s` passed.
        """
        deadline = time.monotonic() + self._config.timeout_s
        for attempt in range(self._config.max_retries + 1):
            try:
                return self._once(bank, request, deadline, attempt)
            except LOST as error:
                self._warn(f"clustering attempt {attempt + 1} was lost ({describe(error)}); trying again")
        raise TrainingError(
            f"the clustering's process was lost {self._config.max_retries + 1} times in one epoch; if memory ran out, "
            "give it a larger machine (clustering.resources) or raise clustering.shards"
        )

    def _once(self, bank: FeatureBank, request: ClusteringRequest, deadline: float, attempt: int) -> ClusteringResult:
        start = time.perf_counter()
        wait = self._wait_until(deadline)
        if self._config.shards > 1:
            from ecul.clustering.pipeline import cluster_epoch

            graph = TaskGraph(self._config, wait)
            result = cluster_epoch(bank, request, graph)
            put_seconds = graph.put_seconds
            seconds = time.perf_counter() - start - put_seconds
        else:
            reference = ray.put(bank)
            put_seconds = time.perf_counter() - start
            task = ray.remote(cluster_bank).options(**task_options(self._config, "clustering"))
            result, seconds = wait(task.remote(reference, request, self._config))
        total = time.perf_counter() - start
        transfer = {
            "task/put_seconds": put_seconds,
            "task/seconds": seconds,
            "task/overhead_seconds": total - seconds,
            "task/object_mib": bank.features.nbytes / 2**20,
            "task/attempts": attempt + 1.0,
        }
        return replace(result, diagnostics=dict(result.diagnostics) | transfer)

    def _wait_until(self, deadline: float) -> Callable[[Any], Any]:
        """Returns a `ray.get` that logs once what it waits for, and raises at the deadline."""

        def wait(reference: Any) -> Any:
            noticed = False
            while not ray.wait([reference], timeout=min(_NOTICE_S, max(0.0, deadline - time.monotonic())))[0]:
                free = ray.available_resources()
                state = f"free now: {free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
                if time.monotonic() >= deadline:
                    raise TrainingError(
                        f"the clustering did not end within clustering.timeout_s={self._config.timeout_s:g} s; "
                        f"it needs {self._config.num_cpus:g} CPUs, {self._config.num_gpus:g} GPUs; {state}"
                    )
                if not noticed:
                    log.info("waiting for the clustering; %s", state)
                    noticed = True
            return ray.get(reference)

        return wait
