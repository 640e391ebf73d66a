"""A torch profiler trace of a few training steps."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from ecul.config import Config
from ecul.engine.interfaces import Record, Reporter

TRACE_FILE = "trace.json"
NUM_STEPS = 10


class Profiler(Reporter):
    """Profiles up to ten steps of the last epoch, after its first: all loss terms are in use and caches are warm.

    The trace is for chrome://tracing or https://ui.perfetto.dev.
    """

    def __init__(self, write: Callable[[str, bytes], object]) -> None:
        """Gets `write(name, content)`, which puts a file into the run directory."""
        self._write = write
        self._epoch = 0
        self._profiler: profile | None = None

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """Remembers which epoch is the last."""
        self._epoch = config.num_epochs

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Starts after the epoch's first step; stops `NUM_STEPS` steps later or at the epoch's end."""
        if epoch != self._epoch:
            return
        if step == 1 and num_steps > 1:
            gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profiler = profile(activities=[ProfilerActivity.CPU, *gpu], record_shapes=True)
            self._profiler.start()
        elif self._profiler is not None and step == min(1 + NUM_STEPS, num_steps):
            self._profiler.stop()
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / TRACE_FILE
                self._profiler.export_chrome_trace(str(path))
                self._write(TRACE_FILE, path.read_bytes())
            self._profiler = None
