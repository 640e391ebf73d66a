"""A run in TensorBoard."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from cluster.tracking.interface import TrackedRun, TrackerSettings
from ecul.engine.interfaces import Record


class TensorBoardRun:
    """A `RunLog` of TensorBoard: an event file in the run's `tensorboard` folder."""

    def __init__(self, run: TrackedRun, settings: TrackerSettings) -> None:
        """Opens the event file."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(run.directory / "tensorboard" / (run.name if run.group else "")))
        self._writer.add_text("config", f"```\n{dict(run.config)}\n```")

    def log(self, metrics: Record, *, step: int) -> None:
        """Adds metrics at a step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def image(self, name: str, content: bytes) -> None:
        """Adds a picture."""
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        self._writer.add_image(name, pixels, dataformats="HWC")

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Adds a table, as text."""
        lines = [columns, ["---"] * len(columns), *rows]
        self._writer.add_text(name, "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))

    def summary(self, metrics: Mapping[str, Any]) -> None:
        """Adds the final metrics that are numbers."""
        for name, value in metrics.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"final/{name}", value, 0)

    def file(self, name: str, content: bytes) -> None:
        """Does nothing: TensorBoard keeps no files."""

    def finish(self) -> None:
        """Closes the event file."""
        self._writer.close()
