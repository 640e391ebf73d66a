"""What watches over a run in Ray Train's controller: events, failures, waiting for resources, and Train's own log.

Train's public `UserCallback` hears of raised errors at each poll, and of nothing that happens while workers start. So
this uses the callbacks that Train itself is made of (ray.train.v2, pinned in constraints.txt).
"""

import contextlib
import logging
import threading
import time
from typing import Any

import ray
import ray.train
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.callback import ControllerCallback, ReportCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    ReschedulingState,
    RestartingState,
)
from ray.train.v2.api.exceptions import PreemptionError

from cluster.config import ClusterConfig
from cluster.failures import FailureBudget, cause_of, describe, is_lost, is_mistake, is_preempted
from cluster.groups import prepare_controller
from cluster.storage import RunFolder, record_event
from ecul.errors import EculError, TrainingError

log = logging.getLogger(__name__)
TRAIN_LOG = "train.log"
FIRST_NOTICE_SECONDS = 30.0
NEXT_NOTICE_SECONDS = 180.0
_SHOWN = ("CPU", "GPU")


class RunGuard(ControllerCallback, WorkerGroupCallback, ReportCallback):
    """Records what happens to the workers, and ends the run where a new attempt is of no use."""

    def __init__(
        self, folder: RunFolder, cluster: ClusterConfig, *, first_notice_s: float = FIRST_NOTICE_SECONDS
    ) -> None:
        """Does nothing yet: it is made in the driver and sent to the controller.

        Args:
            folder: of the run.
            cluster: of the run.
            first_notice_s: seconds of waiting for resources after which the user is told.
        """
        self._folder = folder
        self._cluster = cluster
        self._first_notice_s = first_notice_s
        self._budget = FailureBudget(cluster.max_failures)
        self._waiting: _Waiting | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrives in the controller, before Train has called any callback there."""
        self.__dict__.update(state)
        prepare_controller(self._folder)

    def after_controller_start(self, train_run_context: Any) -> None:
        """Begins to keep Train's log in the run's folder, and to watch how long the workers' resources take."""
        logging.getLogger("ray.train").addHandler(_FolderLog(self._folder))
        self._waiting = _Waiting(self._folder, self._cluster, self._first_notice_s)

    def after_worker_group_start(self, worker_group: Any) -> None:
        """The workers have their resources."""
        if self._waiting is not None:
            self._waiting.end()

    def before_worker_group_start(self, worker_group_context: Any) -> None:
        """Train asks for the resources of a group of workers."""
        if self._waiting is not None:
            self._waiting.ask(worker_group_context.num_workers)

    def after_report(self, training_report: Any, metrics: list[dict[str, Any]]) -> None:
        """An epoch's checkpoint is kept."""
        self._budget.progress(int(metrics[0].get("epoch", 0)))

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Is called between any two steps of the controller.

        Raises:
            EculError: Train does not retry after an error of a callback.
        """
        if not isinstance(current_state, InitializingState | RestartingState | ReschedulingState):
            return
        if self._waiting is not None:
            self._waiting.begin()
            self._waiting.check_limit()
        # the same state again means: there are not enough nodes yet for an elastic run
        if current_state is not previous_state and not isinstance(current_state, InitializingState):
            self._failed(current_state.training_failed_error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, PreemptionError):
            record_event(self._folder, "preempted", ranks=error.preemption_info.preempted_ranks)
            return
        if isinstance(error, ray.train.ControllerError):
            if isinstance(error.controller_failure, WorkerGroupStartupTimeoutError):
                return
            failures: dict[int, Exception] = {}
            record_event(self._folder, "start_failed", error=describe(error))
            last = f"workers could not start ({describe(error)})"
        else:
            failures = dict(sorted(getattr(error, "worker_failures", {}).items()))
            self._record(failures)
            last = "; ".join(f"rank {rank}: {describe(cause)}" for rank, cause in failures.items()) or describe(error)
        _raise_if_useless(failures)
        if not any(map(is_preempted, failures.values())) and not self._budget.spend():
            raise TrainingError(
                f"{self._budget} (max_failures={self._cluster.max_failures}); the last: {last}; tracebacks are in "
                f"{self._folder.uri}/{TRAIN_LOG}"
            )

    def _record(self, failures: dict[int, Exception]) -> None:
        for rank, error in failures.items():
            record_event(self._folder, "worker_failed", rank=rank, error=describe(error))
            if not isinstance(cause_of(error), EculError):
                log.warning("rank %d failed (%s)", rank, describe(error))


def _raise_if_useless(failures: dict[int, Exception]) -> None:
    """Raises what would come again in a new attempt."""
    causes = [(rank, cause_of(error)) for rank, error in failures.items()]
    for _, cause in causes:
        if isinstance(cause, EculError):
            raise cause
    if any(map(is_lost, failures.values())):
        return  # what the others raised may follow from the loss
    for rank, cause in causes:
        if is_mistake(cause):
            raise TrainingError(
                f"rank {rank} failed ({describe(cause)}), and would again; the traceback is in the run's {TRAIN_LOG}"
            )


class _Waiting:
    """Says what is needed and what is free while the workers' resources are in use by others."""

    def __init__(self, folder: RunFolder, cluster: ClusterConfig, first_notice_s: float) -> None:
        """Starts to wait, with a thread: Train's controller itself is blocked while it waits."""
        self._folder = folder
        self._cluster = cluster
        self._asked: int | None = None
        self._since: float | None = time.monotonic()
        self._first = self._next = first_notice_s
        threading.Thread(target=self._watch, name="waiting", daemon=True).start()

    def begin(self) -> None:
        """The run has no workers now."""
        self._asked = None
        if self._since is None:
            self._next = self._first
            self._since = time.monotonic()

    def ask(self, num_workers: int) -> None:
        """Train has asked for so many workers."""
        self._asked = num_workers

    def end(self) -> None:
        """The run has its workers."""
        self._since = None

    def check_limit(self) -> None:
        """Checks the longest wait.

        Raises:
            TrainingError: it has passed.
        """
        limit = self._cluster.busy_timeout_s
        if limit is not None and self._since is not None and time.monotonic() - self._since > limit:
            raise TrainingError(f"waited longer than busy_timeout_s={limit:g} s for {self._state()}")

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            since = self._since
            if since is None or time.monotonic() - since < self._next:
                continue
            with contextlib.suppress(Exception):  # Ray may be going down; the next look may pass
                if self._is_short():
                    seconds = time.monotonic() - since
                    log.warning("waiting for %s; for %.0f s so far", self._state(), seconds)
                    record_event(self._folder, "waiting", seconds=round(seconds), state=self._state())
                    self._next = seconds + NEXT_NOTICE_SECONDS

    def _is_short(self) -> bool:
        """Whether resources are missing, and the workers are not just being started."""
        if self._asked is None:
            return True
        bundle = {name: amount for name, amount in self._cluster.resources_per_worker.items() if amount}
        groups = ray.util.placement_group_table().values()
        return any(
            group["state"] in ("PENDING", "RESCHEDULING") and [*group["bundles"].values()] == [bundle] * self._asked
            for group in groups
        )

    def _state(self) -> str:
        number = self._asked or self._cluster.min_workers
        need, free, all_there = self._cluster.resources_per_worker, ray.available_resources(), ray.cluster_resources()
        kinds = [*_SHOWN, *(name for name in need if name not in _SHOWN)]
        shown = ", ".join(f"{free.get(kind, 0):g} of {all_there.get(kind, 0):g} {kind}" for kind in kinds)
        each = " + ".join(f"{amount:g} {kind}" for kind, amount in need.items() if amount)
        return f"{number} workers of {each}; free now: {shown}"


class _FolderLog(logging.Handler):
    """Keeps Train's warnings, and the tracebacks of its workers, in the run's folder: its console output is off."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        # Train reports the tracebacks of workers as information about its decision
        self.addFilter(lambda record: record.levelno >= logging.WARNING or "failure_handling" in record.name)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record; a storage that is away for a while must not end the run."""
        with contextlib.suppress(Exception):
            self._folder.append(TRAIN_LOG, self.format(record) + "\n")
