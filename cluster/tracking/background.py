"""Calls to a tracker in a thread of their own, so that a slow or broken tracker cannot stop a run."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from cluster.storage import RunFolder
from cluster.tracking.interface import RunLog, TrackedRun, TrackerError
from cluster.tracking.registry import open_log
from ecul.engine.checkpoints import STATE_FILE, checkpoint_path
from ecul.engine.interfaces import Record

_CLOSE_SECONDS = 60.0
_CHECKPOINT_SECONDS = 60.0
_CHECKPOINT_POLL_SECONDS = 0.5


class Background:
    """Runs calls in order in one daemon thread. The first failure is reported once; later calls are dropped."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Starts the thread; `warn` receives the text of the first failure."""
        self._warn = warn
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Adds a call and returns at once."""
        self._work.put(work)

    def close(self, timeout: float | None = None) -> bool:
        """Waits for the calls, at most `timeout` seconds (None: 60), and returns whether all of them ended."""
        timeout = _CLOSE_SECONDS if timeout is None else timeout
        self._work.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._warn(f"tracking did not end within {timeout:g} s and was left behind; the run is not affected")
        return not self._thread.is_alive()

    def _run(self) -> None:
        failed = False
        while (work := self._work.get()) is not None:
            if not failed:
                failed = not self._succeeds(work)

    def _succeeds(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except ImportError as error:
            self._warn(f"tracking is off: {error}")
        except (TrackerError, OSError, RuntimeError, ValueError, TypeError) as error:
            self._warn(f"tracking stopped ({type(error).__name__}: {str(error)[:200]}); the run continues")
        else:
            return True
        return False


class BackgroundRun:
    """A tracker's run that is opened, written and ended in the background."""

    def __init__(self, tracker: str, run: TrackedRun, warn: Callable[[str], None]) -> None:
        """Starts to open the run, or to continue it, and returns at once.

        Args:
            tracker: one of `cluster.tracking.interface.TRACKERS`, other than `none`.
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

    def _open(self, tracker: str, run: TrackedRun) -> None:
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
