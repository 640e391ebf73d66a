"""Reading a training's epochs while another process writes them."""

import math
import time
from collections.abc import Iterator

import ray
import ray.exceptions

from cluster.failures import describe, is_lost
from cluster.storage import RunFolder
from ecul.engine.run_directory import METRICS_FILE, parse_records
from ecul.errors import EculError, TrainingError

POLL_SECONDS = 0.5


class TimeIsUpError(Exception):
    """A training took longer than it may."""


def follow(folder: RunFolder, work: ray.ObjectRef, *, seconds: float | None = None) -> Iterator[dict[str, float]]:
    """Yields a run's epoch records as they appear, each epoch once and in order, until the work ends.

    Args:
        folder: of the run.
        work: reference to the Ray task that trains.
        seconds: longest time from the first record's request on; None for no limit.

    Raises:
        EculError: what the work raised.
        TimeIsUpError: the work has not ended in time.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    lines = NewLines(folder, METRICS_FILE)
    last = -1.0
    done = False
    while not done:
        done = bool(ray.wait([work], timeout=POLL_SECONDS)[0])
        for record in parse_records(lines.read().decode()):
            if record["epoch"] > last:
                last = record["epoch"]
                yield record
        if not done and time.monotonic() >= deadline:
            raise TimeIsUpError
    wait_for(work)


def wait_for(work: ray.ObjectRef) -> None:
    """Waits for a task.

    Raises:
        EculError: what it raised.
        RayError: its process, or one that it needs, was lost.
    """
    try:
        ray.get(work)
    except ray.exceptions.RayTaskError as error:
        if is_lost(error):
            raise
        raise error.cause if isinstance(error.cause, EculError) else TrainingError(describe(error.cause)) from None


class NewLines:
    """The lines of a file that were added since the last look.

    A training that is resumed replaces its metrics.jsonl by a shorter one, without the epochs that it repeats, and
    this may happen between two looks. So each look begins at the last line that was read. Where another line stands
    there now, the file was replaced and is read from its start.
    """

    def __init__(self, folder: RunFolder, name: str) -> None:
        """Takes a run's folder and the name of a file in it, which may not exist yet."""
        self._filesystem = folder.filesystem
        self._path = f"{folder.path}/{name}"
        self._last_line = b""
        self._last_start = 0

    def read(self) -> bytes:
        """Returns the new whole lines; all lines of a file that was replaced."""
        content = self._content_from(self._last_start)
        if content.startswith(self._last_line):
            content = content[len(self._last_line) :]
            start = self._last_start + len(self._last_line)
        else:
            content, start = self._content_from(0), 0
            self._last_line, self._last_start = b"", 0
        lines = content[: content.rfind(b"\n") + 1]
        if lines:
            length = len(lines) - (lines.rfind(b"\n", 0, -1) + 1)
            self._last_line, self._last_start = lines[-length:], start + len(lines) - length
        return lines

    def _content_from(self, start: int) -> bytes:
        """The file from a byte to its end; nothing where it is shorter or not there."""
        if self._filesystem.get_file_info(self._path).size in (None, 0):
            return b""
        with self._filesystem.open_input_file(self._path) as file:
            file.seek(min(start, file.size()))
            return file.read()
