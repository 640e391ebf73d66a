"""What the training loop talks to inside a Ray worker: checkpoints through `ray.train.report`, reports to the run."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import torch

from cluster.storage import RunFolder, record_event
from cluster.tracking import TrackingReporter, track
from ecul import runtime
from ecul.config import Config
from ecul.engine.checkpoints import STATE_FILE, read_checkpoint
from ecul.engine.interfaces import FitResult, Record, Reporter
from ecul.engine.local import RunDirectory
from ecul.errors import CheckpointError

log = logging.getLogger(__name__)


class RayStore:
    """A `CheckpointStore` that hands checkpoints to Ray Train, which keeps the newest and restarts from them."""

    def __init__(self, folder: RunFolder, *, asynchronous: bool) -> None:
        """Takes the run's folder, and whether uploads run beside the next epoch."""
        self._folder = folder
        mode = ray.train.CheckpointUploadMode
        self._mode = mode.ASYNC if asynchronous else mode.SYNC

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Reports the epoch's numbers on every rank and the checkpoint on rank 0.

        Raises:
            CheckpointError: it cannot be written.
        """
        kept = None
        if runtime.is_main():
            local = Path(tempfile.mkdtemp(prefix="ecul-checkpoint-"))
            try:
                torch.save(dict(checkpoint), local / STATE_FILE)
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"cannot write a checkpoint to {local}: {error}") from None
            kept = ray.train.Checkpoint.from_directory(local)
        ray.train.report(
            dict(record),
            checkpoint=kept,
            checkpoint_dir_name=f"checkpoints/epoch_{checkpoint['epoch']:04d}",
            checkpoint_upload_mode=self._mode,
            delete_local_checkpoint_after_upload=True,
        )

    def load(self) -> dict[str, Any] | None:
        """Returns the newest state that Train knows of, else the newest readable one in the run's folder.

        Raises:
            CheckpointError: Train's newest checkpoint cannot be read.
        """
        known = ray.train.get_checkpoint()
        if known is not None:
            with known.as_directory() as local:
                return read_checkpoint(Path(local) / STATE_FILE)
        for name in reversed(self._folder.checkpoint_names()):
            content = self._folder.read(f"checkpoints/{name}/{STATE_FILE}")
            try:
                with tempfile.NamedTemporaryFile(suffix=".pt") as file:
                    file.write(content or b"")
                    file.flush()
                    return read_checkpoint(Path(file.name))
            except CheckpointError:
                log.warning("checkpoint %s is truncated; trying the one before", name)
        return None


class RemoteRunDirectory:
    """A `Reporter` that writes a run directory locally and copies it to remote storage after each epoch."""

    def __init__(self, folder: RunFolder) -> None:
        """Takes the run's folder."""
        self._folder = folder
        self._local = Path(tempfile.mkdtemp(prefix="ecul-run-"))
        self._inner = RunDirectory(self._local)

    def start(self, config: Config, facts: Mapping[str, Any], *, epoch: int) -> None:
        """Fetches what a run that goes on has written before."""
        for name in ("metrics.jsonl", "warnings.log"):
            if epoch and (content := self._folder.read(name)) is not None:
                (self._local / name).write_bytes(content)
        self._inner.start(config, facts, epoch=epoch)
        self._folder.upload(self._local)

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Nothing: no terminal here."""

    def epoch(self, record: Record) -> None:
        """Writes the epoch's numbers."""
        self._inner.epoch(record)
        self._folder.upload(self._local)

    def warn(self, message: str) -> None:
        """Logs and keeps a warning."""
        self._inner.warn(message)

    def finish(self, result: FitResult) -> None:
        """Writes the final figures and pictures."""
        self._inner.finish(result)
        self._folder.upload(self._local)


class WithEvents:
    """A `Reporter` that adds each start and warning to the run's events."""

    def __init__(self, inner: Reporter, folder: RunFolder) -> None:
        """Takes the reporter that does the rest."""
        self._inner = inner
        self._folder = folder

    def start(self, config: Config, facts: Mapping[str, Any], *, epoch: int) -> None:
        """Passes on, and notes the number of workers."""
        record_event(self._folder, "training", after_epoch=epoch, num_workers=runtime.world_size())
        self._inner.start(config, facts, epoch=epoch)

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Passes on."""
        self._inner.progress(epoch, step, num_steps)

    def epoch(self, record: Record) -> None:
        """Passes on."""
        self._inner.epoch(record)

    def warn(self, message: str) -> None:
        """Passes on, and notes it."""
        record_event(self._folder, "warning", message=message)
        self._inner.warn(message)

    def finish(self, result: FitResult) -> None:
        """Passes on, and notes the end."""
        self._inner.finish(result)
        record_event(self._folder, "finished", epoch=result.epoch)


@contextmanager
def open_reporter(folder: RunFolder, tracker: str) -> Iterator[Reporter]:
    """Yields the run's reporter: its directory, its events, and an experiment tracker around them.

    Args:
        folder: the run's folder.
        tracker: `none`, or one of `cluster.trackers.TRACKERS`; its run is ended also where training fails.
    """
    inner: Reporter = RunDirectory(folder.local) if folder.local is not None else RemoteRunDirectory(folder)
    reporter = track(WithEvents(inner, folder), folder, tracker)
    try:
        yield reporter
    finally:
        if isinstance(reporter, TrackingReporter):
            reporter.close()
