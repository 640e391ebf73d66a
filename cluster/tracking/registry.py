"""The trackers by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from cluster.ray_job import ray_job
from cluster.tracking.interface import TRACKERS, RunLog, TrackedRun
from cluster.tracking.tensorboard_run import TensorBoardRun
from cluster.tracking.wandb_run import WandbRun, wandb_mode
from ecul.errors import ConfigError

OPENERS: Mapping[str, Callable[[TrackedRun], RunLog]] = {
    "wandb": WandbRun,
    "wandb+checkpoint": WandbRun,
    "tensorboard": TensorBoardRun,
}


def open_log(tracker: str, run: TrackedRun) -> RunLog:
    """Returns an opened run of a tracker other than `none`, with the ids of the Ray job in its settings.

    Raises:
        TrackerError: the tracker failed to open it.
    """
    job = ray_job()
    return OPENERS[tracker](replace(run, config={**run.config, "ray": job}) if job else run)


def is_tracked(tracker: str) -> bool:
    """Returns whether this tracker records anything: not `none`, and not W&B with WANDB_MODE=disabled.

    Raises:
        ConfigError: the tracker is unknown.
    """
    if tracker not in TRACKERS:
        raise ConfigError(f"unknown tracker {tracker!r}; take one of {', '.join(TRACKERS)}")
    if tracker.startswith("wandb"):
        return wandb_mode() != "disabled"
    return tracker != "none"
