"""Checkpoints through `ray.train.report`."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
import torch

from cluster.storage import RunFolder
from ecul import runtime
from ecul.engine.checkpoints import CHECKPOINTS, STATE_FILE, checkpoint_folder, read_checkpoint
from ecul.engine.interfaces import Record
from ecul.errors import CheckpointError

log = logging.getLogger(__name__)


class RayStore:
    """A `CheckpointStore` that hands checkpoints to Ray Train, which keeps the newest and restarts from them."""

    def __init__(self, folder: RunFolder, *, asynchronous: bool) -> None:
        """Writes nothing yet.

        Args:
            folder: of the run.
            asynchronous: upload a checkpoint while the next epoch runs.
        """
        self._folder = folder
        mode = ray.train.CheckpointUploadMode
        self._mode = mode.ASYNC if asynchronous else mode.SYNC

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Reports the epoch's metrics on every rank and the checkpoint on rank 0; Train needs a report of each rank.

        Raises:
            CheckpointError: it cannot be written.
        """
        reported = None
        if runtime.is_main():
            local = Path(tempfile.mkdtemp(prefix="ecul-checkpoint-"))
            try:
                torch.save(dict(checkpoint), local / STATE_FILE)
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"cannot write a checkpoint to {local}: {error}") from None
            reported = ray.train.Checkpoint.from_directory(local)
        ray.train.report(
            dict(record),
            checkpoint=reported,
            checkpoint_dir_name=checkpoint_folder(checkpoint["epoch"]),
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
            content = self._folder.read(f"{CHECKPOINTS}/{name}/{STATE_FILE}")
            try:
                with tempfile.NamedTemporaryFile(suffix=".pt") as file:
                    file.write(content or b"")
                    file.flush()
                    return read_checkpoint(Path(file.name))
            except CheckpointError:
                log.warning("checkpoint %s is truncated; trying the one before", name)
        return None
