"""What a tracker offers, and how it shows a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from ecul.engine.interfaces import Record
from ecul.errors import EculError
from ecul.schema import Strict

Tracker = Literal["none", "wandb", "wandb+checkpoint", "tensorboard"]
TRACKERS: tuple[str, ...] = get_args(Tracker)


class TrackerError(EculError):
    """A tracker failed. It ends the tracking, never the run."""


class TrackerSettings(Strict):
    """A tracker and its settings, as the command was given them; every process of a run gets these, and never a key.

    They are stored with the run, so that a resumed one is tracked in the same place.
    """

    kind: Tracker = "none"
    """Which tracker."""
    uid: str = ""
    """Made anew for each run, so that one which replaces a deleted run of the same name is another one for the tracker;
    empty = the run's folder decides."""
    mode: str | None = None
    """Of W&B: `online`, `offline` or `disabled`; null = online in a process that finds a key."""
    project: str | None = None
    """Of W&B; null = `ecul`."""
    entity: str | None = None
    """Of W&B; null = that of the key."""
    group: str | None = None
    """Of W&B, for runs of `cluster.train`; the trials of a sweep have the sweep's name."""
    base_url: str | None = None
    """Of a W&B server; null = the public one."""
    directory: str | None = None
    """Where offline files go; null = the run's folder."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as a tracker shows it.

    Attributes:
        id: equal for a run that is resumed, different for all others.
        name: shown in the tracker's lists.
        group: name under which runs are shown together, such as a sweep's; empty for none.
        kind: `train`, `trial` or `sweep`.
        directory: where offline files go.
        config: the settings that the run was started with.
    """

    id: str
    name: str
    group: str
    kind: str
    directory: Path
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


class RunLog(Protocol):
    """An opened run of a tracker."""

    def log(self, metrics: Record, *, step: int) -> None:
        """Adds metrics at a step; the same step again replaces them."""
        ...

    def image(self, name: str, content: bytes) -> None:
        """Adds a picture, PNG or JPEG."""
        ...

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Adds a table."""
        ...

    def summary(self, metrics: Mapping[str, Any]) -> None:
        """Sets the run's final metrics."""
        ...

    def file(self, name: str, content: bytes) -> None:
        """Adds a file: a checkpoint, or a report (`.html`)."""
        ...

    def finish(self) -> None:
        """Ends the run."""
        ...
