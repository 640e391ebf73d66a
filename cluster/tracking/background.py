"""Calls to a tracker in a thread of their own, so that a slow or broken tracker cannot stop a run."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cluster.storage import RunFolder
from cluster.tracking.interface import RunLog, TrackedRun, TrackerSettings
from cluster.tracking.registry import open_log
from ecul.engine.interfaces import Record
from ecul.engine.run_files import STATE_FILE, checkpoint_path

_STALL_SECONDS = 300.0
"""How long one call may take at the end of a run. Most are a round trip; the longest uploads a checkpoint."""
_CHECKPOINT_SECONDS = 60.0
_CHECKPOINT_POLL_SECONDS = 0.5


class Background:
    """Runs calls in order in one daemon thread. The first failure is reported once; later calls are dropped."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Starts the thread; `warn` receives the text of the first failure."""
        self._warn = warn
        self._work: queue.PriorityQueue[tuple[int, int, Callable[[], None] | None]] = queue.PriorityQueue()
        self._number = itertools.count()
        self._done = 0
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], *, first: bool = False) -> None:
        """Adds a call and returns at once; `first` puts it before all that still wait."""
        self._work.put((0 if first else 1, next(self._number), work))

    def close(self, stall_seconds: float | None = None) -> bool:
        """Waits for the calls as long as they go on, and returns whether all of them ended.

        Args:
            stall_seconds: longest wait for one call (default: 300); there is no limit for all of them.
        """
        stall = _STALL_SECONDS if stall_seconds is None else stall_seconds
        self._work.put((2, next(self._number), None))
        done = -1
        while self._thread.is_alive() and self._done > done:
            done = self._done
            self._wait(stall, done)
        if self._thread.is_alive():
            left = self._work.qsize() - 1  # without the mark of the end
            self._warn(
                f"tracking was left behind: one call took more than {stall:g} s and {left} more wait; the run is not "
                "affected"
            )
        return not self._thread.is_alive()

    def _wait(self, seconds: float, done: int) -> None:
        """Returns when a call ended after the first `done` ones, or the thread, or the time."""
        deadline = time.monotonic() + seconds
        while self._done == done and self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(min(0.2, seconds))

    def _run(self) -> None:
        failed = False
        while (work := self._work.get()[2]) is not None:
            if not failed:
                failed = not self._succeeds(work)
            self._done += 1

    def _succeeds(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except ImportError as error:
            self._warn(f"tracking is off: {error}")
        except Exception as error:  # a tracker may raise anything; whatever it is, the run goes on
            self._warn(f"tracking stopped ({type(error).__name__}: {str(error)[:200]}); the run continues")
        else:
            return True
        return False


class BackgroundRun:
    """A tracker's run that is opened, written and ended in the background."""

    def __init__(self, tracker: TrackerSettings, run: TrackedRun, warn: Callable[[str], None]) -> None:
        """Starts to open the run, or to continue it, and returns at once.

        Args:
            tracker: other than `none`.
            run: how the tracker shows it.
            warn: receives the text of the first failure.
        """
        self._log: RunLog | None = None
        self._background = Background(warn)
        self._background.submit(lambda: self._open(tracker, run))

    def epoch(self, record: Record) -> None:
        """Sends an epoch's metrics under the epoch's number."""
        metrics = dict(record)
        self._background.submit(lambda: self._opened().log(metrics, step=int(metrics["epoch"])))

    def picture(self, name: str, content: bytes) -> None:
        """Sends a picture."""
        self._background.submit(lambda: self._opened().image(name, content))

    def file(self, name: str, content: bytes) -> None:
        """Sends a file."""
        self._background.submit(lambda: self._opened().file(name, content))

    def checkpoint(self, folder: RunFolder, epoch: int) -> None:
        """Sends an epoch's checkpoint from the run's folder; its upload there may still be under way."""
        self._background.submit(lambda: self._opened().file(STATE_FILE, _checkpoint(folder, epoch)))

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Sends the final metrics, ends the run and waits for all that was sent."""
        final = dict(metrics)
        self._background.submit(lambda: self._opened().summary(final))
        self._background.submit(lambda: self._opened().finish())
        self._background.close()

    def _open(self, tracker: TrackerSettings, run: TrackedRun) -> None:
        self._log = open_log(tracker, run)

    def _opened(self) -> RunLog:
        if self._log is None:
            raise RuntimeError("the tracker was never opened")
        return self._log


def _checkpoint(folder: RunFolder, epoch: int) -> bytes:
    path = checkpoint_path(epoch)
    deadline = time.monotonic() + _CHECKPOINT_SECONDS
    while (content := folder.read(path)) is None:
        if time.monotonic() > deadline:
            raise OSError(f"no {path} to send")
        time.sleep(_CHECKPOINT_POLL_SECONDS)
    return content
