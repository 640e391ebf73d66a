"""The clustering's stages as Ray tasks over blocks of rows; the labels are those of the clustering in one piece.

What passes between the tasks stays in the object store and is read in place. When a node is lost, Ray computes every
intermediate again except the features, which the caller stores again.
"""

import time
from collections.abc import Callable
from typing import Any

import ray

from cluster.attempt import Attempt
from cluster.config import ClusteringTaskConfig
from cluster.task_resources import hide_gpus, task_threads
from ecul.clustering.executor import StageSeconds, timed


class TaskGraph:
    """An `ecul.clustering.executor.Executor` whose functions are Ray tasks; its handles are object references."""

    def __init__(self, config: ClusteringTaskConfig, tasks: Attempt, wait: Callable[[Any], Any]) -> None:
        """Takes the threads of each task, what submits them, and a `ray.get` with a deadline."""
        self.num_blocks = config.shards
        self.num_threads = task_threads(config)
        self.put_seconds = 0.0
        self._config = config
        self._tasks = tasks
        self._wait = wait
        self._times: list[tuple[str, Any]] = []

    def share(self, value: Any) -> Any:
        """Puts the value into the object store, once for all tasks."""
        start = time.perf_counter()
        reference = ray.put(value)
        self.put_seconds += time.perf_counter() - start
        return reference

    def submit(self, stage: str, function: Callable[..., Any], *inputs: Any, num_returns: int = 1) -> Any:
        """Returns the reference, or references, to what the function will return."""
        options = {"name": f"clustering/{stage}", "num_returns": num_returns + 1}
        retries = {"max_retries": self._config.max_retries}
        *results, times = self._tasks.submit(_run, self._config, num_returns, function, *inputs, **options, **retries)
        self._times.append((stage, times))
        return results[0] if num_returns == 1 else results

    def get(self, handle: Any) -> Any:
        """Waits for the value behind a reference."""
        return self._wait(handle)

    def seconds(self) -> dict[str, float]:
        """Seconds of work by stage, summed over the tasks so far."""
        sums = StageSeconds()
        for stage, times in self._times:
            sums.add(stage, *self._wait(times))
        return sums.sums()


def _run(config: ClusteringTaskConfig, num_returns: int, function: Callable[..., Any], *inputs: Any) -> Any:
    """Runs in the task: the results, then the seconds. Inputs are read-only memory of the object store."""
    hide_gpus(config)
    result, seconds, cpu_seconds = timed(function, *inputs)
    return (*([result] if num_returns == 1 else result), (seconds, cpu_seconds))
