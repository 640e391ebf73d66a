"""Running and comparing trainings."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
import ray
import torch
from ray.util.placement_group import placement_group, remove_placement_group

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


@contextmanager
def nodes_of_a_test(cluster: "SmallCluster", count: int = 1, **options: Any) -> Iterator[dict[str, Any]]:
    """Nodes by id, on loopback. Those that are left are removed, and the block ends when Ray has noticed that."""
    same = {"object_store_memory": 100 * 2**20, "node_ip_address": "127.0.0.1"}
    added = [cluster.handle.add_node(**same, **options) for _ in range(count)]
    nodes = {node.node_id: node for node in added}
    everyone = set(nodes)
    try:
        yield nodes
    finally:
        for node in nodes.values():
            cluster.handle.remove_node(node, allow_graceful=False)
        deadline = time.monotonic() + 60
        while any(node["Alive"] and node["NodeID"] in everyone for node in ray.nodes()):
            assert time.monotonic() < deadline, "Ray does not notice that the nodes have gone"
            time.sleep(0.1)


@contextmanager
def all_cpus_held(name: str = "") -> Iterator[None]:
    """As by the workers of another run, or in a placement group with the name of this one."""
    deadline = time.monotonic() + 30
    while ray.available_resources().get("CPU", 0) < ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, "the tests before still hold CPUs"
        time.sleep(0.1)
    group = placement_group([{"CPU": node["Resources"]["CPU"]} for node in ray.nodes() if node["Alive"]], name=name)
    assert group.wait(30)
    try:
        yield
    finally:
        remove_placement_group(group)


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


def kill_driver(command: list[str], environment: dict[str, str], *, once: Callable[[], bool], seconds: float) -> None:
    """Runs `python -m COMMAND` and kills it as soon as something has happened, so that it can tidy nothing up."""
    driver = subprocess.Popen([sys.executable, "-m", *command], env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + seconds
        while not once():
            assert driver.poll() is None, "the driver ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()


def results(folder: Path) -> dict[str, int]:
    """{run: when its result was written} of the complete runs in a folder."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}


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
