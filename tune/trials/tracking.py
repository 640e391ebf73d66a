"""A trial in an experiment tracker, in its sweep's group."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.storage import RunFolder
from cluster.tracking.background import BackgroundRun
from cluster.tracking.interface import TrackedRun, TrackerSettings
from cluster.tracking.registry import is_tracked
from ecul.engine.interfaces import Record

log = logging.getLogger(__name__)


class TrialTracker:
    """Sends a `full` trial's epochs while it trains.

    It lives in the trial's process and not in a worker: a worker may be killed before it could send anything.
    """

    def __init__(self, tracker: TrackerSettings, folder: RunFolder, config: Mapping[str, Any]) -> None:
        """Opens the trial's run in the background.

        Args:
            tracker: of the sweep, with the settings of its command.
            folder: of the trial: SWEEP/trials/KEY.
            config: of the trial.
        """
        self._folder = folder
        self._checkpoint = tracker.kind == "wandb+checkpoint"
        run = tracked_run(Path(folder.root).parent, folder.name, kind="trial", config=config)
        self._run = BackgroundRun(tracker, run, log.warning) if is_tracked(tracker) else None
        self._last: Record = {}

    def epoch(self, record: Record) -> None:
        """Sends an epoch's numbers; returns at once."""
        self._last = dict(record)
        if self._run is not None:
            self._run.epoch(record)

    def close(self, state: str, *, error: str = "") -> None:
        """Ends the trial's run. One that was trained to the end sends pictures and, if asked for, its checkpoint.

        Args:
            state: `complete`, `stopped early` or `failed`.
            error: of a failed one.
        """
        if self._run is None:
            return
        run, self._run = self._run, None
        if state == "complete":
            for name in self._folder.picture_names():
                run.picture(name, self._folder.read(f"{name}.png") or b"")
            if self._checkpoint:
                run.checkpoint(self._folder, int(self._last["epoch"]))
        run.finish({**{f"final/{name}": value for name, value in self._last.items()}, "state": state, "error": error})


def tracked_run(folder: Path, key: str, *, kind: str, config: Mapping[str, Any]) -> TrackedRun:
    """Returns how a tracker shows a part of a sweep.

    Args:
        folder: of the sweep.
        key: of a trial, or `sweep`.
        kind: `trial` or `sweep`.
        config: of the part.
    """
    # sweeps of the same name in other folders must not share a run
    digest = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]
    return TrackedRun(
        id=f"{folder.name}-{key}-{digest}",
        name=f"{folder.name}-{key}",
        group=folder.name,
        kind=kind,
        directory=folder.absolute(),
        config=config,
    )
