"""Trains the runs of a repetition over Ray, several at a time, and keeps what failed apart."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import ray
import ray.exceptions

from cluster.failures import describe
from cluster.storage import RunFolder
from ecul.errors import EculError
from ecul.settings import config_tree
from tune.trials.follow import follow
from tune.trials.full import STOP_SECONDS, FullSettings, start_training
from tune.trials.grid import RepeatedRun
from tune.trials.tracking import TrialTracker

log = logging.getLogger(__name__)
MOST_LOSSES = 2
"""How often a run whose process or node was lost is begun again by itself; it continues from its checkpoint."""

Ended = Callable[[RepeatedRun, str], None]
"""Called in the main thread with each run that ended, and the text of its error; empty for a good one."""


@dataclass
class _Work:
    """References of the trainings that run now; none is begun once it is stopped."""

    references: set[ray.ObjectRef] = field(default_factory=set)
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, run: RepeatedRun, settings: FullSettings) -> ray.ObjectRef | None:
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


def train_all(runs: Sequence[RepeatedRun], settings: FullSettings, *, at_once: int, ended: Ended) -> None:
    """Trains runs on the joined cluster. One that fails does not end the others.

    Args:
        runs: to train; one with a checkpoint in its folder continues from it.
        settings: what they share: cluster, storage, tracker.
        at_once: most runs side by side.
        ended: is called with each run as it ends.

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
                done, _ = wait(open_runs, return_when=FIRST_COMPLETED)
                for future in done:
                    run, error = open_runs.pop(future), future.result()
                    if error is not None:
                        ended(run, error)
        except BaseException:
            for future in open_runs:
                future.cancel()
            work.stop()
            raise


def _train(run: RepeatedRun, settings: FullSettings, work: _Work) -> str | None:
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
