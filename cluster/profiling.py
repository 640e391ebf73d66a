"""A torch profiler trace of a few training steps, left in the run."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from cluster.storage import RunFolder
from ecul.config import Config
from ecul.engine.interfaces import FitResult, Record, Reporter

TRACE_FILE = "trace.json"
NUM_STEPS = 10


class Profiled:
    """A `Reporter` that profiles the steps after the first of the last epoch: all terms, warm caches.

    The trace is for chrome://tracing or https://ui.perfetto.dev.
    """

    def __init__(self, inner: Reporter, folder: RunFolder) -> None:
        """Takes the reporter that does the rest."""
        self._inner = inner
        self._folder = folder
        self._epoch = 0
        self._profiler: profile | None = None

    def start(self, config: Config, facts: Mapping[str, Any], *, epoch: int) -> None:
        """Passes on, and notes which epoch is the last."""
        self._epoch = config.num_epochs
        self._inner.start(config, facts, epoch=epoch)

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Starts after the epoch's first step, stops after `NUM_STEPS` more or at its end."""
        self._inner.progress(epoch, step, num_steps)
        if epoch != self._epoch:
            return
        if step == 1 and num_steps > 1:
            gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profiler = profile(activities=[ProfilerActivity.CPU, *gpu], record_shapes=True)
            self._profiler.start()
        elif self._profiler is not None and step == min(1 + NUM_STEPS, num_steps):
            self._profiler.stop()
            self._write(self._profiler)
            self._profiler = None

    def epoch(self, record: Record) -> None:
        """Passes on."""
        self._inner.epoch(record)

    def warn(self, message: str) -> None:
        """Passes on."""
        self._inner.warn(message)

    def finish(self, result: FitResult) -> None:
        """Passes on."""
        self._inner.finish(result)

    def _write(self, profiler: profile) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / TRACE_FILE
            profiler.export_chrome_trace(str(path))
            self._folder.write(TRACE_FILE, path.read_bytes())
