"""A run in Weights & Biases."""

import functools
import io
import logging
import netrc
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlparse

from PIL import Image

from cluster.tracking.interface import TrackedRun, TrackerError, TrackerSettings
from ecul.engine.interfaces import Record

log = logging.getLogger(__name__)

PROJECT = "ecul"
_EPOCH = "epoch"
P = ParamSpec("P")
R = TypeVar("R")


def wandb_mode(chosen: str | None = None, base_url: str | None = None) -> str:
    """Returns `online`, `offline` or `disabled`: the chosen one, else WANDB_MODE, else `online` if a key is found.

    Args:
        chosen: by the run's settings.
        base_url: server whose key is looked for; None for WANDB_BASE_URL, else W&B's own.
    """
    if mode := chosen or os.environ.get("WANDB_MODE"):
        return mode
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    host = urlparse(base_url or os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return "online" if netrc.netrc(os.environ.get("NETRC")).authenticators(host) else "offline"
    except (OSError, netrc.NetrcParseError):
        return "offline"


def _with_our_errors(
    method: Callable[Concatenate["WandbRun", P], R],
) -> Callable[Concatenate["WandbRun", P], R]:
    """Returns the method with W&B's own exceptions raised as `TrackerError`."""

    @functools.wraps(method)
    def translated(self: "WandbRun", *args: P.args, **kwargs: P.kwargs) -> R:
        from wandb.errors import Error

        try:
            return method(self, *args, **kwargs)
        except Error as error:
            raise TrackerError(f"{type(error).__name__}: {error}") from error

    return translated


class WandbRun:
    """A `RunLog` of Weights & Biases.

    Every method raises `TrackerError` where W&B reports a failure.
    """

    @_with_our_errors
    def __init__(self, run: TrackedRun, settings: TrackerSettings) -> None:
        """Opens the run; one with a known id is continued."""
        import wandb

        self._wandb = wandb
        mode = wandb_mode(settings.mode, settings.base_url)
        server: dict[str, Any] = {"base_url": settings.base_url} if settings.base_url else {}
        run.directory.mkdir(parents=True, exist_ok=True)
        # Console output, code, git state and machine facts stay out: the run directory has them, and they may hold
        # secrets.
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            init_timeout=30,
            **server,
        )
        self._run = wandb.init(
            project=settings.project or os.environ.get("WANDB_PROJECT", PROJECT),
            entity=settings.entity,
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
        self._by_epoch = False
        self._state: object = None
        self._offline = mode == "offline"
        if self._offline and run.kind == "train":
            # A resumed run sends its earlier epochs again, so this folder will hold all. From several, `wandb sync`
            # makes a run with repeated epochs (0.31), or one in which each replaces the one before (0.25).
            folder = shlex.quote(str(self._folder()))
            log.info("W&B is offline; when the run has ended, upload all its epochs: wandb sync %s", folder)

    @_with_our_errors
    def log(self, metrics: Record, *, step: int) -> None:
        """Adds metrics at a step. Charts of a run that counts epochs have them as their horizontal axis."""
        if _EPOCH in metrics and not self._by_epoch:
            self._by_epoch = True
            self._run.define_metric(_EPOCH)
            self._run.define_metric("*", step_metric=_EPOCH)
        self._run.log(dict(metrics), step=step, commit=True)

    @_with_our_errors
    def image(self, name: str, content: bytes) -> None:
        """Adds a picture."""
        self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(content)))})

    @_with_our_errors
    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Adds a table."""
        self._run.log({name: self._wandb.Table(columns=[*columns], data=[*rows])})

    @_with_our_errors
    def summary(self, metrics: Mapping[str, Any]) -> None:
        """Sets final metrics."""
        self._state = metrics.get("state", self._state)
        self._run.summary.update(dict(metrics))

    @_with_our_errors
    def file(self, name: str, content: bytes) -> None:
        """Adds a file as an artifact."""
        kind = "report" if Path(name).suffix == ".html" else "model"
        artifact = self._wandb.Artifact(f"{self._run.id}-{Path(name).stem}", type=kind)
        with artifact.new_file(name, mode="wb") as file:
            file.write(content)
        self._run.log_artifact(artifact)

    @_with_our_errors
    def finish(self) -> None:
        """Ends the run. Offline, a complete one takes the place of its earlier starts."""
        self._run.finish()
        if self._offline and self._state == "complete":
            self._pass_over_earlier()

    def _folder(self) -> Path:
        """The folder of the offline run."""
        return Path(self._run.settings.sync_dir)

    def _pass_over_earlier(self) -> None:
        """Marks the folders of the run's earlier starts as uploaded, so that `wandb sync` passes over them.

        This one holds their epochs too. If they were uploaded as well, the run would have these twice (wandb 0.31).
        """
        folder, file = self._folder(), f"run-{self._run.id}.wandb"
        for other in folder.parent.glob("offline-run-*"):
            if other != folder and (other / file).is_file():
                (other / f"{file}.synced").touch()
