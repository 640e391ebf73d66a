"""Checkpoints of a run: where they lie, reading them, and writing them atomically.

Every run, local or over Ray, keeps them as `checkpoints/epoch_NNNN/state.pt`, and those that are never removed as
`kept/epoch_NNNN/state.pt`.
"""

import logging
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from ecul.config import Config
from ecul.engine.interfaces import Record
from ecul.engine.run_files import CHECKPOINT_PATTERN, checkpoint_path, kept_path
from ecul.engine.state import check_checkpoint, checkpoint_config
from ecul.errors import CheckpointError
from ecul.files import replacing
from ecul.models.backbone import DualStream, build_model

log = logging.getLogger(__name__)
_RESULT_FILE = "result.json"  # written at the end of a run, see `ecul.engine.run_directory`


class LocalStore:
    """A `CheckpointStore` in a run directory; it keeps the newest `keep` checkpoints."""

    def __init__(self, run: Path, *, keep: int = 2, keep_every: int | None = None, use_previous: bool = False) -> None:
        """Writes nothing yet.

        Args:
            run: the run directory.
            keep: how many checkpoints to keep, at least 1.
            keep_every: keep each n-th epoch's for good; None for none.
            use_previous: load the one before the newest if the newest cannot be read.
        """
        self._run = run
        self._keep = keep
        self._keep_every = keep_every
        self._use_previous = use_previous

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Writes the checkpoint, then removes old ones; Ctrl-C and SIGTERM wait until it is done.

        Raises:
            CheckpointError: it cannot be written; the ones before it are untouched.
        """
        path = self._run / checkpoint_path(checkpoint["epoch"])
        with _interrupts_wait():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as partial, partial.open("wb") as file:
                    torch.save(dict(checkpoint), file)
                    file.flush()
                    os.fsync(file.fileno())
                if (kept := kept_path(checkpoint["epoch"], self._keep_every)) is not None:
                    _link(path, self._run / kept)
            except (OSError, RuntimeError) as error:
                with suppress(OSError):
                    path.parent.rmdir()  # not empty where a run repeats this epoch
                raise CheckpointError(f"cannot write {path}: {error}; make room, then resume the run") from None
            for old in checkpoint_files(self._run)[: -self._keep]:
                shutil.rmtree(old.parent)

    def load(self) -> dict[str, Any] | None:
        """Returns the newest checkpoint, or None if there is none.

        Raises:
            CheckpointError: the newest one cannot be read and the one before was not asked for.
        """
        files = checkpoint_files(self._run)[::-1]
        for path in files:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                if not self._use_previous or path == files[-1]:
                    hint = "; --use-previous resumes from the one before" if path != files[-1] else ""
                    raise CheckpointError(f"{error}{hint}") from None
                log.warning("%s; trying the one before", error)
        return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the checkpoint in a file, tensors on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, or not a checkpoint of ours.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint {path}") from None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError):
        raise CheckpointError(f"{path} is truncated or not a checkpoint") from None
    return check_checkpoint(loaded, path)


def checkpoint_files(run: Path) -> list[Path]:
    """Returns the checkpoint files of a run directory, oldest epoch first."""
    return sorted(run.glob(CHECKPOINT_PATTERN))


def find_checkpoint(path: Path) -> Path:
    """Returns the newest checkpoint of a run directory, or the file itself.

    Raises:
        CheckpointError: there is none.
    """
    if path.is_file():
        return path
    files = checkpoint_files(path)
    if not files:
        raise CheckpointError(f"{path} is neither a checkpoint nor a run directory with {CHECKPOINT_PATTERN}")
    return files[-1]


def open_run(path: str | Path) -> tuple[Config, dict[str, Any]]:
    """Returns the configuration and the newest checkpoint of a run directory, or those of a checkpoint file.

    The newest one of a run that was killed may be half uploaded; then the one before is taken, with a warning.

    Raises:
        CheckpointError: there is no checkpoint, or none can be read.
    """
    newest = find_checkpoint(Path(path))
    if newest == Path(path) or (Path(path) / _RESULT_FILE).exists():
        checkpoint = read_checkpoint(newest)  # of an ended run no other epoch will do
    else:
        checkpoint = _newest_readable(checkpoint_files(Path(path)))
    return checkpoint_config(checkpoint), checkpoint


def _newest_readable(files: Sequence[Path]) -> dict[str, Any]:
    *older, newest = files
    try:
        return read_checkpoint(newest)
    except CheckpointError as error:
        if not older:
            raise
        log.warning("%s; taking the one before", error)
        return _newest_readable(older)


def network_of(config: Config, checkpoint: Mapping[str, Any]) -> DualStream:
    """Returns the network of a checkpoint with its weights, on the CPU, laid out in memory as in training.

    The layout decides which convolution kernels run, and so the last bits of the embeddings.

    Args:
        config: the checkpoint's, see `open_run`.
        checkpoint: as read by `read_checkpoint`.

    Raises:
        CheckpointError: the weights are those of another network.
    """
    model = build_model(config.model.backbone, non_local=config.model.non_local)
    try:
        model.load_state_dict(checkpoint["model"])
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the configured network: {str(error)[:200]}") from None
    if config.runtime.channels_last:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model


def _link(path: Path, other: Path) -> None:
    """Gives a file another name, or copies it where the file system cannot."""
    other.parent.mkdir(parents=True, exist_ok=True)
    with replacing(other) as partial:
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Holds SIGINT and SIGTERM back until the block is done; only the main thread can, elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[tuple[int, Any]] = []
    held = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *arguments: pending.append(arguments)) for number in held}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if pending:
            number, frame = pending[0]
            handler = before[signal.Signals(number)]
            if callable(handler):
                handler(number, frame)
            elif handler == signal.SIG_DFL:
                signal.raise_signal(number)
