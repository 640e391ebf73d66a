"""Trains the runs of a repetition over Ray, several at a time, and keeps what failed apart."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import ray
import ray.exceptions

from cluster.config import ClusterConfig
from cluster.failures import describe
from cluster.groups import remove_groups
from cluster.storage import RunFolder
from ecul.errors import EculError
from ecul.settings import config_tree
from tune.trials.follow import follow
from tune.trials.grid import RepeatedRun
from tune.trials.repetition import RunsOnDisk
from tune.trials.tracking import TrialTracker
from tune.trials.training import (
    MOST_LOSSES,
    STOP_SECONDS,
    TrainingSettings,
    start_training,
    training_settings,
    trainings_at_once,
)

log = logging.getLogger(__name__)

Ended = Callable[[RepeatedRun, str], None]
"""Called in the main thread with each run that ended, and the text of its error; empty for a good one."""


@dataclass
class _Work:
    """References of the trainings that run now; none is begun once it is stopped."""

    references: set[ray.ObjectRef] = field(default_factory=set)
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, run: RepeatedRun, settings: TrainingSettings) -> ray.ObjectRef | None:
        with self.lock:
            if self.stopped:
                return None
            reference = start_training(run.config, run.key, settings)
            self.references.add(reference)
            return reference

    def end(self, reference: ray.ObjectRef) -> None:
        with self.lock:
            self.references.discard(reference)

    def stop(self) -> None:
        """Ends what is running and waits until its workers are free."""
        with self.lock:
            self.stopped = True
            references = list(self.references)
        for reference in references:
            ray.cancel(reference, recursive=False)  # see `FullTrial.cleanup`
        ray.wait(references, num_returns=len(references), timeout=STOP_SECONDS) if references else None


def train_missing(
    runs: Sequence[RepeatedRun],
    disk: RunsOnDisk,
    *,
    cluster: ClusterConfig,
    tracker: str,
    local: bool,
    limit: int | None,
    deadline: float | None = None,
) -> None:
    """Trains the runs that are not complete on the joined cluster, and notes each as it ends.

    Args:
        runs: all of them. One with a checkpoint in its folder continues from it.
        disk: where they are kept.
        cluster: how each is laid over the cluster, with `clustering.borrow` decided.
        tracker: kind of the experiment tracker.
        local: whether Ray was started by this command.
        limit: most runs side by side; None for as many as fit.
        deadline: `time.monotonic()` at which those that still run are stopped, to be continued later; None for no end.

    Raises:
        ConfigError: the cluster is too small for one run.
        KeyboardInterrupt: Ctrl-C, after the running trainings have freed their workers.
    """
    missing = disk.missing(runs)
    if not missing or (deadline is not None and time.monotonic() >= deadline):
        return
    at_once = min(trainings_at_once(cluster, limit=limit), len(missing))
    settings = training_settings(cluster, storage=disk.folder, tracker=tracker, local=local, at_once=at_once)
    left = len(missing)

    def ended(run: RepeatedRun, error: str) -> None:
        nonlocal left
        left -= 1
        log.info("%s: %s; %d left", run.key, f"FAILED: {error}" if error else "complete", left)
        disk.note(run.key, error)

    log.info("%d runs to train, %d at once", len(missing), at_once)
    train_all(missing, settings, at_once=at_once, ended=ended, deadline=deadline)


def train_all(
    runs: Sequence[RepeatedRun],
    settings: TrainingSettings,
    *,
    at_once: int,
    ended: Ended,
    deadline: float | None = None,
) -> None:
    """Trains runs on the joined cluster. One that fails does not end the others.

    Args:
        runs: to train; one with a checkpoint in its folder continues from it.
        settings: what they share: cluster, storage, tracker.
        at_once: most runs side by side.
        ended: is called with each run as it ends.
        deadline: see `train_missing`.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the running trainings have freed their workers.
    """
    work = _Work()
    with ThreadPoolExecutor(at_once, thread_name_prefix="repeat") as pool:
        open_runs: dict[Future[str | None], RepeatedRun] = {
            pool.submit(_train, run, settings, work): run for run in runs
        }
        try:
            while open_runs:
                seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
                done, _ = wait(open_runs, timeout=seconds, return_when=FIRST_COMPLETED)
                if not done:
                    _end_all(open_runs, work)
                    return
                for future in done:
                    run, error = open_runs.pop(future), future.result()
                    if error is not None:
                        ended(run, error)
        except BaseException:
            _end_all(open_runs, work)
            raise


def _end_all(waiting: Iterable[Future[str | None]], work: _Work) -> None:
    for future in waiting:
        future.cancel()
    work.stop()


def _train(run: RepeatedRun, settings: TrainingSettings, work: _Work) -> str | None:
    """Trains a run and returns the text of its error, empty for none; None if it was stopped or never begun."""
    folder = RunFolder(settings.storage, run.key)
    tracker = TrialTracker(settings.tracker, folder, {**config_tree(run.config), "values": dict(run.values)})
    error, sent = "", -1.0
    for loss in range(MOST_LOSSES + 1):
        reference = work.start(run, settings)
        if reference is None:
            tracker.close("stopped early")
            return None
        try:
            for record in follow(folder, reference):
                if record["epoch"] > sent:  # after a loss, the epochs before are read again
                    sent = record["epoch"]
                    tracker.epoch(record)
            if work.stopped:  # a cancelled training that has freed its workers ends without an error
                tracker.close("stopped early")
                return None
            tracker.close("complete")
            return ""
        except EculError as failure:
            error = str(failure)
            break
        except ray.exceptions.RayError as failure:
            if work.stopped:
                tracker.close("stopped early")
                return None
            error = describe(failure)
            remove_groups(folder)
            if loss < MOST_LOSSES:
                log.warning("%s: its process was lost (%s); it is begun again", run.key, error)
        except Exception as failure:  # such as storage that fails: of this run alone, the others go on
            error = describe(failure)
            ray.cancel(reference, recursive=False)
            break
        finally:
            work.end(reference)
    tracker.close("failed", error=error)
    return error
