"""Checkpoints in a run directory, written atomically."""

import logging
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ecul.engine.interfaces import Record
from ecul.engine.state import check_checkpoint
from ecul.errors import CheckpointError

log = logging.getLogger(__name__)
STATE_FILE = "state.pt"


class LocalStore:
    """A `CheckpointStore` in a run directory: checkpoints/epoch_NNNN.pt, the newest `keep` of them."""

    def __init__(self, run: Path, *, keep: int = 2, use_previous: bool = False) -> None:
        """Takes a run directory.

        Args:
            run: the run directory.
            keep: how many checkpoints to keep, at least 1.
            use_previous: load the one before the newest if the newest cannot be read.
        """
        self._folder = run / "checkpoints"
        self._keep = keep
        self._use_previous = use_previous

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Writes the checkpoint, then removes old ones; Ctrl-C waits until it is done.

        Raises:
            CheckpointError: it cannot be written; the ones before it are untouched.
        """
        path = self._folder / f"epoch_{checkpoint['epoch']:04d}.pt"
        partial = path.with_suffix(".partial")
        with _interrupts_wait():
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    torch.save(dict(checkpoint), file)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            except (OSError, RuntimeError) as error:
                partial.unlink(missing_ok=True)
                raise CheckpointError(f"cannot write {path}: {error}; make room, then resume the run") from None
            for old in self._files()[: -self._keep]:
                old.unlink()

    def load(self) -> dict[str, Any] | None:
        """Returns the newest checkpoint, or None where there is none.

        Raises:
            CheckpointError: the newest one cannot be read and the one before was not asked for.
        """
        files = self._files()[::-1]
        for path in files:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                if not self._use_previous or path == files[-1]:
                    hint = "; --use-previous resumes from the one before" if path != files[-1] else ""
                    raise CheckpointError(f"{error}{hint}") from None
                log.warning("%s; trying the one before", error)
        return None

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("epoch_*.pt"))


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


def find_checkpoint(path: Path) -> Path:
    """Returns the newest checkpoint of a run directory, or the file itself.

    Local runs keep checkpoints/epoch_NNNN.pt, distributed ones checkpoints/epoch_NNNN/state.pt.

    Raises:
        CheckpointError: there is none.
    """
    if path.is_file():
        return path
    folder = path / "checkpoints"
    files = sorted([*folder.glob("epoch_*.pt"), *folder.glob(f"epoch_*/{STATE_FILE}")])
    if not files:
        raise CheckpointError(f"{path} is neither a checkpoint nor a run directory with checkpoints/epoch_*.pt")
    return files[-1]


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Holds SIGINT back until the block is done; only the main thread can, elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[Any] = []
    before = signal.signal(signal.SIGINT, lambda *signal_arguments: pending.append(signal_arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending and callable(before):
            before(*pending[0])
