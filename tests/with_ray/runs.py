"""Running and comparing trainings."""

import json
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import torch

from cluster.config import ClusterConfig
from ecul.config import Config
from ecul.engine.checkpoints import find_checkpoint, read_checkpoint
from ecul.engine.run_directory import read_records

_THIRD_PARTY = (
    "ignore::DeprecationWarning:ray",
    "ignore::FutureWarning:ray",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
T = TypeVar("T")
_CHANGING = ("seconds", "images_per_second", "task/", "gpu_memory")


def mark_tests(items: list[pytest.Item], folder: Path, mark: pytest.MarkDecorator) -> None:
    """Marks the tests of a folder, and passes over warnings that Ray's own code raises in them."""
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(mark)
            for text in _THIRD_PARTY:
                item.add_marker(pytest.mark.filterwarnings(text))


@dataclass
class SmallCluster:
    """The cluster of the test session.

    Attributes:
        handle: Ray's simulated cluster; nodes can be added and killed.
        address: where drivers join it.
        dashboard: URL of its dashboard, or None where that is not installed.
        environment: what a driver in another process needs to join.
    """

    handle: Any
    address: str
    dashboard: str | None
    environment: dict[str, str]


class InBackground(threading.Thread, Generic[T]):
    """Work beside the test's main thread, started at once. Nodes can be added in the main thread only."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome.append(self._work())
        except BaseException as error:
            self._error = error

    def result(self, timeout: float) -> T:
        """What the work returned; raises what it raised."""
        self.join(timeout)
        assert not self.is_alive(), f"not done within {timeout:g} s"
        if self._error is not None:
            raise self._error
        return self._outcome[0]


def train(config: Config, cluster: ClusterConfig, storage: Path, name: str) -> Path:
    """Trains on the session's cluster and returns the run's folder."""
    from cluster.trainer import build_trainer, run

    run(build_trainer(config, cluster, name=name, storage=str(storage)))
    return storage / name


def numbers(folder: Path) -> list[dict[str, float]]:
    """Returns what a run computed in each epoch, without times and transfers."""
    return [
        {key: value for key, value in record.items() if not any(part in key for part in _CHANGING)}
        for record in read_records(folder)
    ]


def state(folder: Path) -> dict[str, Any]:
    """Returns a run's last checkpoint."""
    return read_checkpoint(find_checkpoint(folder))


def events(folder: Path) -> list[dict[str, Any]]:
    """Returns what the run directory says happened."""
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def seconds_after(marker: Path, folder: Path) -> dict[str, float]:
    """Seconds from the fault to the first event of each kind after it, as the run directory tells them."""
    died = float(marker.read_text())
    after: dict[str, float] = {}
    for event in events(folder):
        seconds = datetime.fromisoformat(event["time"]).timestamp() - died
        if seconds > 0:
            after.setdefault(event["event"], seconds)
    print("after the fault:", ", ".join(f"{event} {seconds:.1f} s" for event, seconds in after.items()))  # pytest -rP
    return after


def assert_same_run(one: Path, other: Path) -> None:
    """Both runs computed the same bits: numbers of each epoch, labels and weights."""
    assert numbers(one) == numbers(other)
    assert json.loads((one / "result.json").read_text()) == json.loads((other / "result.json").read_text())
    left, right = state(one), state(other)
    torch.testing.assert_close(left["labels"], right["labels"], rtol=0, atol=0)
    torch.testing.assert_close(left["model"], right["model"], rtol=0, atol=0)


def free_port() -> int:
    """A port of loopback that nobody listens on, where neither the system nor Ray picks theirs meanwhile."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.randint(20_000, 32_000)))
            except OSError:
                continue
            return probe.getsockname()[1]
