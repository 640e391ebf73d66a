"""A trial in an experiment tracker, under its sweep's group."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.storage import RunFolder
from cluster.trackers import TrackedRun, check_tracker
from cluster.tracking import BackgroundRun
from ecul.engine.interfaces import Record

log = logging.getLogger(__name__)


class TrialTracker:
    """Sends a `full` trial's epochs while it trains.

    It lives in the trial's process and not in a worker: a worker may be killed before it could tell.
    """

    def __init__(self, tracker: str, folder: RunFolder, config: Mapping[str, Any]) -> None:
        """Opens the trial's run; nothing is waited for.

        Args:
            tracker: one of `cluster.trackers.TRACKERS`.
            folder: of the trial, in the folder of all trials, which lies in the sweep's.
            config: of the trial.
        """
        self._folder = folder
        self._checkpoint = tracker == "wandb+checkpoint"
        run = tracked(Path(folder.root).parent, folder.name, "trial", config)
        self._run = BackgroundRun(tracker, run, log.warning) if check_tracker(tracker) else None
        self._last: Record = {}

    def epoch(self, record: Record) -> None:
        """Sends an epoch's numbers; returns at once."""
        self._last = dict(record)
        if self._run is not None:
            self._run.epoch(record)

    def close(self, state: str, *, error: str = "") -> None:
        """Ends the trial's run, with pictures and, where asked for, the checkpoint if it was trained to the end.

        Args:
            state: `complete`, `stopped early` or `failed`.
            error: of a failed one.
        """
        if self._run is None:
            return
        run, self._run = self._run, None
        complete = state == "complete"
        run.finish(
            {**{f"final/{name}": value for name, value in self._last.items()}, "state": state, "error": error},
            folder=self._folder if complete else None,
            checkpoint_epoch=int(self._last["epoch"]) if complete and self._checkpoint else None,
        )


def tracked(folder: Path, key: str, kind: str, config: Mapping[str, Any]) -> TrackedRun:
    """Returns how a tracker shows a part of the sweep in a folder."""
    digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]
    return TrackedRun(
        id=f"{folder.name}-{key}-{digest}",
        name=f"{folder.name}-{key}",
        group=folder.name,
        kind=kind,
        directory=folder.absolute(),
        config=config,
    )
