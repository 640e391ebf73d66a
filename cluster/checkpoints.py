"""Checkpoints through `ray.train.report`."""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
import torch

from cluster.scratch import ScratchFolder
from cluster.storage import RunFolder, epoch_records, record_event
from ecul import runtime
from ecul.engine.checkpoints import read_checkpoint
from ecul.engine.interfaces import Record
from ecul.engine.run_files import CHECKPOINTS, STATE_FILE, checkpoint_folder, kept_path
from ecul.errors import CheckpointError

log = logging.getLogger(__name__)


class RayStore:
    """A `CheckpointStore` that hands checkpoints to Ray Train, which keeps the newest and restarts from them."""

    def __init__(self, folder: RunFolder, *, asynchronous: bool, keep_every: int | None = None) -> None:
        """Writes nothing yet.

        Args:
            folder: of the run.
            asynchronous: upload a checkpoint while the next epoch runs.
            keep_every: keep each n-th epoch's for good, beside Train's own; None for none.
        """
        self._folder = folder
        self._asynchronous = asynchronous
        self._uploading: list[ScratchFolder] = []
        self._noticed = False
        self._keep_every = keep_every

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Reports the epoch's metrics on every rank and the checkpoint on rank 0; Train needs a report of each rank.

        Once a node of the run is about to be taken away, the workers wait for each upload, so that nothing is lost but
        the epoch that then runs.

        Raises:
            CheckpointError: it cannot be written.
        """
        mode = ray.train.CheckpointUploadMode
        waits = self._is_preempted() or not self._asynchronous
        reported = None
        if runtime.is_main():
            local = self._new_folder()
            try:
                torch.save(dict(checkpoint), local / STATE_FILE)
                if (kept := kept_path(checkpoint["epoch"], self._keep_every)) is not None:
                    self._folder.write(kept, (local / STATE_FILE).read_bytes())
            except (OSError, RuntimeError) as error:
                raise CheckpointError(f"cannot write a checkpoint to {local}: {error}") from None
            reported = ray.train.Checkpoint.from_directory(local)
        ray.train.report(
            dict(record),
            checkpoint=reported,
            checkpoint_dir_name=checkpoint_folder(checkpoint["epoch"]),
            checkpoint_upload_mode=mode.SYNC if waits else mode.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )

    def load(self) -> dict[str, Any] | None:
        """Returns the newest readable state of those that Train knows of, or of all if it knows none.

        Rank 0 chooses, so that all ranks begin at the same epoch also where a node sees an old listing of the folder.

        Raises:
            CheckpointError: checkpoints are there, but none can be read.
        """
        chosen: dict[str, Any] = {}
        name = runtime.on_main(lambda: self._choose(chosen))
        if name is None:
            return None
        return runtime.together(lambda: chosen.get("state") or self._read(name))

    def _choose(self, chosen: dict[str, Any]) -> str | None:
        """The name of the newest readable checkpoint, whose state is put into `chosen`."""
        names = self._folder.checkpoint_names()
        known = ray.train.get_checkpoint()
        if known is not None:  # a newer one is still being uploaded, or was cut
            names = [name for name in names if name <= Path(known.path).name]
        for name in reversed(names):
            try:
                chosen["state"] = self._read(name)
                return name
            except CheckpointError as error:
                self._warn(f"{error}; the one before is tried")
        epochs = [int(record["epoch"]) for record in epoch_records(self._folder) if record["epoch"] > 0]
        first = [Path(checkpoint_folder(epoch)).name for epoch in epochs[:1]]
        if names not in ([], first):  # one cut in the upload of its very first checkpoint never had a complete one
            raise CheckpointError(
                f"none of the checkpoints {', '.join(names)} in {self._folder.uri} can be read; bring back a good one, "
                "or start anew under another name"
            )
        if epochs:
            self._warn(f"there is no complete checkpoint; the {len(epochs)} recorded epochs are trained again")
        return None

    def _read(self, name: str) -> dict[str, Any]:
        content = self._folder.read(f"{CHECKPOINTS}/{name}/{STATE_FILE}")
        with tempfile.NamedTemporaryFile(suffix=".pt") as file:
            file.write(content or b"")
            file.flush()
            try:
                return read_checkpoint(Path(file.name))
            except CheckpointError:
                where = f"{self._folder.uri}/{CHECKPOINTS}/{name}"
                raise CheckpointError(f"{where} is truncated or not a checkpoint, seen from this node") from None

    def _new_folder(self) -> Path:
        """A folder for a checkpoint; Train removes it after the upload."""
        gone = [folder for folder in self._uploading if not folder.path.exists()]
        for folder in gone:
            folder.remove()
        self._uploading = [folder for folder in self._uploading if folder not in gone]
        self._uploading.append(ScratchFolder("checkpoint"))
        return self._uploading[-1].path

    def _warn(self, message: str) -> None:
        log.warning("%s", message)
        record_event(self._folder, "warning", message=message)

    def _is_preempted(self) -> bool:
        """Whether Ray has been told that a node of this run will be taken away; every rank gets the same answer."""
        notice = ray.train.get_preemption_info()
        if notice is not None and not self._noticed and runtime.is_main():
            ranks = notice.preempted_ranks
            record_event(self._folder, "preemption", ranks=ranks, deadline_ms=notice.deadline_ms)
        self._noticed = notice is not None
        return self._noticed
