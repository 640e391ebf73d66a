"""A reporter that sends a run to an experiment tracker."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.storage import RunFolder
from cluster.tracking.background import BackgroundRun
from cluster.tracking.interface import TrackedRun, TrackerSettings
from ecul.config import Config
from ecul.engine.interfaces import FitResult, Record, Reporter
from ecul.engine.run_directory import REPORT_FILE
from ecul.settings import config_tree


class TrackingReporter(Reporter):
    """Sends metrics, pictures, the report and, if asked, the last checkpoint to a tracker, in the background."""

    def __init__(self, folder: RunFolder, tracker: TrackerSettings, warn: Callable[[str], None]) -> None:
        """Opens nothing yet; `start` does.

        Args:
            folder: of the run.
            tracker: other than `none`.
            warn: receives the tracker's first failure; the run continues without tracking.
        """
        self._folder = folder
        self._tracker = tracker
        self._warn = warn
        self._run: BackgroundRun | None = None
        self._final: Mapping[str, Any] | None = None

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """Opens the tracker's run. On resume, sends the earlier epochs again: a killed process may not have."""
        run = run_of(self._folder, {**config_tree(config), "provenance": dict(provenance)}, self._tracker)
        self._run = BackgroundRun(self._tracker, run, self._warn)
        for record in history:
            self._run.epoch(record)

    def epoch(self, record: Record) -> None:
        """Sends the epoch's metrics under its number."""
        if self._run is not None:
            self._run.epoch(record)

    def picture(self, name: str, content: bytes) -> None:
        """Sends the picture."""
        if self._run is not None:
            self._run.picture(name, content)

    def file(self, name: str, content: bytes) -> None:
        """Sends the report; other files stay in the run directory."""
        if self._run is not None and name == REPORT_FILE:
            self._run.file(name, content)

    def finish(self, result: FitResult) -> None:
        """Sends the checkpoint if the tracker is `wandb+checkpoint`; the final metrics follow at the end."""
        if self._run is not None and self._tracker.kind == "wandb+checkpoint":
            self._run.checkpoint(self._folder, result.epoch)
        self._final = {f"final/{name}": value for name, value in result.record.items()} | {"state": "complete"}

    def close(self) -> None:
        """Ends the tracker's run, as failed if the training did not finish."""
        if self._run is not None:
            run, self._run = self._run, None
            run.finish({"state": "failed"} if self._final is None else self._final)


def run_of(folder: RunFolder, config: Mapping[str, Any], tracker: TrackerSettings) -> TrackedRun:
    """Returns how a tracker shows the run in a folder."""
    name = Path(folder.path).name
    return TrackedRun(
        id=f"{name}-{tracker.uid or hashlib.sha256(folder.uri.encode()).hexdigest()[:8]}",
        name=name,
        group=tracker.group or "",
        kind="train",
        directory=Path(tracker.directory or folder.local or Path.cwd()),
        config=config,
    )
