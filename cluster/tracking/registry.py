"""The trackers by name, and their settings from the environment of a command."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cluster.ray_job import ray_job
from cluster.tracking.interface import TRACKERS, RunLog, TrackedRun, TrackerSettings
from cluster.tracking.tensorboard_run import TensorBoardRun
from cluster.tracking.wandb_run import WandbRun, wandb_mode
from ecul.errors import ConfigError

OPENERS: Mapping[str, Callable[[TrackedRun, TrackerSettings], RunLog]] = {
    "wandb": WandbRun,
    "wandb+checkpoint": WandbRun,
    "tensorboard": TensorBoardRun,
}
_VARIABLES = {
    "mode": "WANDB_MODE",
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "group": "WANDB_RUN_GROUP",
    "base_url": "WANDB_BASE_URL",
}


def tracker_settings(kind: str | None, before: TrackerSettings | None = None) -> TrackerSettings:
    """Returns a tracker with the settings that this process's environment names, for the processes of its run.

    Args:
        kind: one of `cluster.tracking.interface.TRACKERS`; None keeps that of `before`.
        before: of the run that is resumed; the environment and `kind` replace parts of it.

    Raises:
        ConfigError: the tracker is unknown.
    """
    before = before or TrackerSettings()
    if kind is not None and kind not in TRACKERS:
        raise ConfigError(f"unknown tracker {kind!r}; take one of {', '.join(TRACKERS)}")
    found = {name: value for name, variable in _VARIABLES.items() if (value := os.environ.get(variable))}
    if directory := os.environ.get("WANDB_DIR"):
        found["directory"] = str(Path(directory).absolute())
    return TrackerSettings.model_validate(before.model_dump() | found | ({} if kind is None else {"kind": kind}))


def open_log(tracker: TrackerSettings, run: TrackedRun) -> RunLog:
    """Returns an opened run of a tracker other than `none`, with the ids of the Ray job in its settings.

    Raises:
        TrackerError: the tracker failed to open it.
    """
    job = ray_job()
    return OPENERS[tracker.kind](replace(run, config={**run.config, "ray": job}) if job else run, tracker)


def is_tracked(tracker: TrackerSettings) -> bool:
    """Returns whether this tracker records anything: not `none`, and not W&B that is disabled."""
    if tracker.kind.startswith("wandb"):
        return wandb_mode(tracker.mode, tracker.base_url) != "disabled"
    return tracker.kind != "none"
