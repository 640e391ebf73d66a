"""Tracking beside a run: told of everything, able to stop nothing.

All calls go through one background thread. What a tracker raises ends the tracking with one warning, and a tracker
that hangs is left behind when the run ends.
"""

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cluster.storage import RunFolder, epoch_records
from cluster.trackers import RunLog, TrackedRun, check_tracker, open_run
from ecul.config import Config
from ecul.engine.checkpoints import STATE_FILE
from ecul.engine.interfaces import FitResult, Record, Reporter
from ecul.settings import config_tree

IMAGES = ("curves.png", "gallery.png")
_CLOSE_SECONDS = 60.0
_CHECKPOINT_SECONDS = 60.0


class Background:
    """Does work in order in one daemon thread; the first failure is told once, and what follows is dropped."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Takes whom to tell."""
        self._warn = warn
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Adds work; returns at once."""
        self._work.put(work)

    def close(self, timeout: float | None = None) -> bool:
        """Waits for the work, but not longer than `timeout` seconds (None: 60); returns whether all of it was done."""
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
                failed = not self._done(work)

    def _done(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except ImportError as error:
            self._warn(f"tracking is off: {error}")
        except (OSError, RuntimeError, ValueError, TypeError, _wandb_error()) as error:
            self._warn(f"tracking stopped ({type(error).__name__}: {str(error)[:200]}); the run goes on")
        else:
            return True
        return False


def _wandb_error() -> type[Exception]:
    """The base of what W&B raises on purpose."""
    from wandb.errors import Error

    return Error


class BackgroundRun:
    """A tracker's run that is opened, written and ended in the background."""

    def __init__(self, tracker: str, run: TrackedRun, warn: Callable[[str], None]) -> None:
        """Opens the run, or goes on with it; nothing is waited for."""
        self._log: RunLog | None = None
        self._background = Background(warn)
        self._background.submit(lambda: self._open(tracker, run))

    def epoch(self, record: Record) -> None:
        """Sends an epoch's numbers under its number."""
        figures = dict(record)
        self._background.submit(lambda: self._opened().log(figures, step=int(figures["epoch"])))

    def finish(
        self,
        figures: Mapping[str, Any],
        *,
        folder: RunFolder | None = None,
        checkpoint_epoch: int | None = None,
    ) -> None:
        """Ends the run and waits for it.

        Args:
            figures: final ones.
            folder: whose pictures are sent; None for none.
            checkpoint_epoch: of the checkpoint in the folder that is sent; None for none.
        """
        self._background.submit(lambda: self._finish(dict(figures), folder, checkpoint_epoch))
        self._background.close()

    def _open(self, tracker: str, run: TrackedRun) -> None:
        self._log = open_run(tracker, run)

    def _opened(self) -> RunLog:
        if self._log is None:
            raise RuntimeError("the tracker was never opened")
        return self._log

    def _finish(self, figures: dict[str, Any], folder: RunFolder | None, checkpoint_epoch: int | None) -> None:
        opened = self._opened()
        opened.summary(figures)
        if folder is not None:
            for name in IMAGES:
                if (content := folder.read(name)) is not None:
                    opened.image(Path(name).stem, content)
            if checkpoint_epoch is not None:
                opened.file(STATE_FILE, _checkpoint(folder, checkpoint_epoch))
        opened.finish()


def _checkpoint(folder: RunFolder, epoch: int) -> bytes:
    """An epoch's checkpoint, whose upload may still be under way."""
    path = f"checkpoints/epoch_{epoch:04d}/{STATE_FILE}"
    deadline = time.monotonic() + _CHECKPOINT_SECONDS
    while (content := folder.read(path)) is None:
        if time.monotonic() > deadline:
            raise OSError(f"no {path} to send")
        time.sleep(0.5)
    return content


class TrackingReporter:
    """A `Reporter` that tells a tracker too, after the reporter that does the rest."""

    def __init__(self, inner: Reporter, folder: RunFolder, tracker: str) -> None:
        """Takes the reporter that does the rest, the run's folder and the tracker's name."""
        self._inner = inner
        self._folder = folder
        self._tracker = tracker
        self._run: BackgroundRun | None = None

    def start(self, config: Config, facts: Mapping[str, Any], *, epoch: int) -> None:
        """Opens the run; one that goes on is told of its epochs before, which a killed process may not have sent."""
        self._inner.start(config, facts, epoch=epoch)
        run = run_of(self._folder, {**config_tree(config), "facts": dict(facts)})
        self._run = BackgroundRun(self._tracker, run, self._inner.warn)
        for record in epoch_records(self._folder) if epoch else []:
            self._run.epoch(record)

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Passes on."""
        self._inner.progress(epoch, step, num_steps)

    def epoch(self, record: Record) -> None:
        """Passes on, and sends the epoch's numbers under its number."""
        self._inner.epoch(record)
        if self._run is not None:
            self._run.epoch(record)

    def warn(self, message: str) -> None:
        """Passes on."""
        self._inner.warn(message)

    def finish(self, result: FitResult) -> None:
        """Passes on, sends pictures, final figures and, where asked for, the checkpoint, and ends the run."""
        self._inner.finish(result)
        figures = {f"final/{name}": value for name, value in result.record.items()}
        epoch = result.epoch if self._tracker == "wandb+checkpoint" else None
        self._end(figures, folder=self._folder, checkpoint_epoch=epoch)

    def close(self) -> None:
        """Ends the run of a training that failed, so that what was sent is kept; does nothing after `finish`."""
        self._end({"state": "failed"})

    def _end(self, figures: Mapping[str, Any], **sent: Any) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            run.finish(figures, **sent)


def run_of(folder: RunFolder, config: Mapping[str, Any], *, kind: str | None = None) -> TrackedRun:
    """Returns how a tracker shows the run in a folder.

    WANDB_RUN_GROUP puts it into a group, as a trial; WANDB_DIR says where offline files go (default: its folder).
    """
    group = os.environ.get("WANDB_RUN_GROUP", "")
    name = Path(folder.path).name
    directory = os.environ.get("WANDB_DIR") or folder.local or Path.cwd()
    return TrackedRun(
        id=f"{name}-{hashlib.sha256(folder.uri.encode()).hexdigest()[:8]}",
        name=f"{group}-{name}" if group else name,
        group=group,
        kind=kind or ("trial" if group else "train"),
        directory=Path(directory),
        config=config,
    )


def track(reporter: Reporter, folder: RunFolder, tracker: str) -> Reporter:
    """Returns a reporter that also tells an experiment tracker.

    Args:
        reporter: does the rest.
        folder: of the run.
        tracker: one of `cluster.trackers.TRACKERS`.

    Raises:
        ConfigError: an unknown tracker.
    """
    return TrackingReporter(reporter, folder, tracker) if check_tracker(tracker) else reporter
