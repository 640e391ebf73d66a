"""Where the parts of a clustering run: in this process, or wherever another executor sends them."""

import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from ecul.progress import Progress

Range = tuple[int, int]


class Executor(Protocol):
    """Runs functions on data; what it hands out is a handle, which another function may take as input.

    Attributes:
        num_blocks: blocks of rows that a stage is divided into.
        num_threads: threads that each function may use; None for all processors.
    """

    num_blocks: int
    num_threads: int | None

    def share(self, value: Any) -> Any:
        """A handle to a large value that many functions will read."""
        ...

    def submit(self, stage: str, function: Callable[..., Any], *inputs: Any, num_returns: int = 1) -> Any:
        """A handle to `function(*inputs)`, or a sequence of `num_returns` handles. Its seconds count for `stage`."""
        ...

    def get(self, handle: Any) -> Any:
        """The value behind a handle."""
        ...

    def seconds(self) -> dict[str, float]:
        """`STAGE_seconds` and `STAGE_cpu_seconds` of all stages so far, summed over their functions."""
        ...


class StageSeconds:
    """Sums of seconds by stage."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}

    def add(self, stage: str, seconds: float, cpu_seconds: float) -> None:
        """Adds the seconds, and processor seconds of all threads, of one function."""
        for name, value in ((f"{stage}_seconds", seconds), (f"{stage}_cpu_seconds", cpu_seconds)):
            self._sums[name] = self._sums.get(name, 0.0) + value

    def sums(self) -> dict[str, float]:
        """All sums so far by name."""
        return dict(self._sums)


def timed(function: Callable[..., Any], *inputs: Any) -> tuple[Any, float, float]:
    """The function's result, its seconds, and the processor seconds of all threads, which a busy machine moves less."""
    start, cpu_start = time.perf_counter(), time.process_time()
    result = function(*inputs)
    return result, time.perf_counter() - start, time.process_time() - cpu_start


def read_only(value: Any) -> Any:
    """The value with read-only views of its arrays, as functions in other processes get it.

    What is compiled for the one is then compiled for the other too: for numba, arrays that cannot be written are of
    another type.
    """
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, list | tuple):
        return type(value)(map(read_only, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: read_only(getattr(value, field.name)) for field in fields(value)})
    return value


class InProcess:
    """Runs everything at once, here; handles are the values themselves."""

    def __init__(self, num_threads: int | None = None, num_blocks: int = 1) -> None:
        self.num_threads, self.num_blocks = num_threads, num_blocks
        self._seconds = StageSeconds()

    def share(self, value: Any) -> Any:
        """The value."""
        return value

    def submit(self, stage: str, function: Callable[..., Any], *inputs: Any, num_returns: int = 1) -> Any:
        """What the function returns."""
        with Progress(f"clustering, {stage}"):
            result, seconds, cpu_seconds = timed(function, *map(read_only, inputs))
        self._seconds.add(stage, seconds, cpu_seconds)
        return result

    def get(self, handle: Any) -> Any:
        """The handle."""
        return handle

    def seconds(self) -> dict[str, float]:
        """Seconds by stage."""
        return self._seconds.sums()


def row_blocks(num_rows: int, num_blocks: int) -> list[Range]:
    """Equal, consecutive, non-empty ranges of rows, at most `num_blocks` of them, at least one."""
    bounds = np.linspace(0, num_rows, min(num_blocks, max(num_rows, 1)) + 1).astype(int).tolist()
    return list(pairwise(bounds))
