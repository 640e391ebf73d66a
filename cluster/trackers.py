"""Experiment trackers behind one small interface: Weights & Biases and TensorBoard."""

import io
import logging
import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse

import numpy as np
from PIL import Image

from ecul.engine.interfaces import Record
from ecul.errors import ConfigError

log = logging.getLogger(__name__)

TRACKERS = ("none", "wandb", "wandb+checkpoint", "tensorboard")
PROJECT = "ecul"


@dataclass(frozen=True)
class TrackedRun:
    """One run as a tracker shows it.

    Attributes:
        id: the same for a run that is resumed, different for all others.
        group: runs shown together, such as a sweep's; empty for none.
        kind: `train`, `trial` or `sweep`.
        directory: where offline files go.
        config: what the run was started with.
    """

    id: str
    name: str
    group: str
    kind: str
    directory: Path
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])


class RunLog(Protocol):
    """An opened run of a tracker."""

    def log(self, figures: Record, *, step: int) -> None:
        """Adds figures at a step; the same step again replaces them."""
        ...

    def image(self, name: str, content: bytes) -> None:
        """Adds a picture, PNG or JPEG."""
        ...

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Adds a table."""
        ...

    def summary(self, figures: Mapping[str, Any]) -> None:
        """Sets the run's final figures."""
        ...

    def file(self, name: str, content: bytes) -> None:
        """Adds a file, such as a checkpoint."""
        ...

    def finish(self) -> None:
        """Ends the run."""
        ...


def wandb_mode() -> str:
    """Returns `online`, `offline` or `disabled`: WANDB_MODE if set, else online exactly where a key is found."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return "online" if netrc.netrc(os.environ.get("NETRC")).authenticators(host) else "offline"
    except (OSError, netrc.NetrcParseError):
        return "offline"


class WandbRun:
    """A `RunLog` of Weights & Biases."""

    def __init__(self, run: TrackedRun) -> None:
        """Opens the run, or goes on with it."""
        import wandb

        self._wandb = wandb
        mode = wandb_mode()
        run.directory.mkdir(parents=True, exist_ok=True)
        # no console capture, code, git or machine facts: the run directory has them, and they might hold secrets
        quiet = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, x_disable_meta=True, init_timeout=30
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.id,
            name=run.name,
            group=run.group or None,
            job_type=run.kind,
            dir=run.directory,
            config=dict(run.config),
            mode=mode,  # pyright: ignore[reportArgumentType]
            resume="allow",
            reinit="create_new",
            settings=quiet,
        )
        if mode == "offline" and run.kind == "train":
            log.info("W&B is offline; upload later with: wandb sync %s", run.directory / "wandb" / "offline-run-*")

    def log(self, figures: Record, *, step: int) -> None:
        """Adds figures at a step."""
        self._run.log(dict(figures), step=step, commit=True)

    def image(self, name: str, content: bytes) -> None:
        """Adds a picture."""
        self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(content)))})

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Adds a table."""
        self._run.log({name: self._wandb.Table(columns=[*columns], data=[*rows])})

    def summary(self, figures: Mapping[str, Any]) -> None:
        """Sets final figures."""
        self._run.summary.update(dict(figures))

    def file(self, name: str, content: bytes) -> None:
        """Adds a file as an artifact."""
        artifact = self._wandb.Artifact(f"{self._run.id}-{Path(name).stem}", type="model")
        with artifact.new_file(name, mode="wb") as file:
            file.write(content)
        self._run.log_artifact(artifact)

    def finish(self) -> None:
        """Ends the run."""
        self._run.finish()


class TensorBoardRun:
    """A `RunLog` of TensorBoard: an event file in the run's `tensorboard` folder."""

    def __init__(self, run: TrackedRun) -> None:
        """Opens the event file."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(run.directory / "tensorboard" / (run.name if run.group else "")))
        self._writer.add_text("config", f"```\n{dict(run.config)}\n```")

    def log(self, figures: Record, *, step: int) -> None:
        """Adds figures at a step."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def image(self, name: str, content: bytes) -> None:
        """Adds a picture."""
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        self._writer.add_image(name, pixels, dataformats="HWC")

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Adds a table, as text."""
        lines = [columns, ["---"] * len(columns), *rows]
        self._writer.add_text(name, "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))

    def summary(self, figures: Mapping[str, Any]) -> None:
        """Adds the final figures that are numbers."""
        for name, value in figures.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"final/{name}", value, 0)

    def file(self, name: str, content: bytes) -> None:
        """Nothing: TensorBoard keeps no files."""

    def finish(self) -> None:
        """Closes the event file."""
        self._writer.close()


def open_run(tracker: str, run: TrackedRun) -> RunLog:
    """Returns an opened run of a tracker other than `none`."""
    return TensorBoardRun(run) if tracker == "tensorboard" else WandbRun(run)


def check_tracker(tracker: str) -> bool:
    """Returns whether anything is to be tracked.

    Raises:
        ConfigError: an unknown tracker.
    """
    if tracker not in TRACKERS:
        raise ConfigError(f"unknown tracker {tracker!r}; take one of {', '.join(TRACKERS)}")
    return tracker != "none" and not (tracker.startswith("wandb") and wandb_mode() == "disabled")
