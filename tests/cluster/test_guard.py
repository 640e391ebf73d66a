"""The guard of Train's controller, called as the controller calls it. tests/with_ray does it with real workers."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayActorError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.controller.state import ReschedulingState, RestartingState, RunningState
from ray.train.v2.api.exceptions import PreemptionError

from cluster import guard
from cluster.config import load_cluster_config
from cluster.guard import TRAIN_LOG, RunGuard
from cluster.storage import RunFolder
from ecul.errors import EculError, TrainingError


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path), "run")


@pytest.fixture(autouse=True)
def train_logger() -> Iterator[None]:
    logger = logging.getLogger("ray.train")
    handlers = [*logger.handlers]
    yield
    logger.handlers[:] = handlers


def started(folder: RunFolder, *, notice_s: float = 30, **settings: Any) -> RunGuard:
    cluster = load_cluster_config(None, {"cpu": True, "num_workers": 2, **settings})
    watch = RunGuard(folder, cluster, first_notice_s=notice_s)
    watch.after_controller_start(None)
    return watch


def restart(watch: RunGuard, error: Exception) -> None:
    watch.after_controller_state_update(RunningState(), RestartingState(training_failed_error=error))


def group(**failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("", {int(rank[1:]): error for rank, error in failures.items()})


def events(folder: RunFolder) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder.read("events.jsonl") or b"").decode().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def test_a_lost_worker_is_an_event_and_costs_of_the_budget_until_an_epoch_is_finished(folder: RunFolder):
    watch = started(folder, max_failures=1)
    lost = group(r1=RayActorError(), r0=RuntimeError("connection closed by peer"))
    restart(watch, lost)
    assert [(event["event"], event["rank"]) for event in events(folder)] == [("worker_failed", 0), ("worker_failed", 1)]
    watch.after_report(None, [{"epoch": 1.0}, {}])
    restart(watch, lost)
    with pytest.raises(TrainingError, match=r"2 attempts in a row failed .* the last: rank 0: RuntimeError: con"):
        restart(watch, lost)


def test_an_error_of_ours_ends_the_run_at_once_and_so_does_a_mistake(folder: RunFolder):
    with pytest.raises(EculError, match="the loss is nan"):
        restart(started(folder), group(r0=TrainingError("the loss is nan"), r1=RuntimeError("rank 0 failed")))
    with pytest.raises(TrainingError, match=r"rank 1 failed \(KeyError: 'k'\), and would again"):
        restart(started(folder), group(r1=KeyError("k")))
    # beside a lost worker, another's error may be a consequence
    restart(started(folder), group(r0=ValueError("no process group"), r1=RayActorError()))


def test_preempted_nodes_cost_nothing(folder: RunFolder):
    watch = started(folder, max_failures=0)
    restart(watch, PreemptionError(SimpleNamespace(preempted_ranks=[1])))  # pyright: ignore[reportArgumentType]
    restart(watch, group(r1=RayActorError(preempted=True)))
    assert [event["event"] for event in events(folder)] == ["preempted", "worker_failed"]


def rescheduling(error: Exception) -> ReschedulingState:
    return ReschedulingState(training_failed_error=ControllerError(error))


def test_workers_that_die_while_they_start_cost_of_the_budget(folder: RunFolder):
    watch = started(folder, max_failures=1)
    state = rescheduling(WorkerGroupStartupFailedError("a worker died"))
    watch.after_controller_state_update(RunningState(), state)
    watch.after_controller_state_update(state, state)  # Train looks again: that is no new failure
    with pytest.raises(TrainingError, match=r"could not start \(WorkerGroupStartupFailedError: a worker died\)"):
        watch.after_controller_state_update(state, rescheduling(WorkerGroupStartupFailedError("a worker died")))


def test_a_busy_cluster_is_waited_for_without_limit_or_with_one(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(guard.ray, "available_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(guard.ray, "cluster_resources", lambda: {"CPU": 4.0})
    for settings in ({"max_failures": 0}, {"busy_timeout_s": 0.05}):
        watch = started(folder, **settings)
        for _ in range(3):
            watch.after_controller_state_update(RunningState(), rescheduling(WorkerGroupStartupTimeoutError(2)))
        time.sleep(0.1)
    with pytest.raises(TrainingError, match=r"busy_timeout_s=0.05 s for 2 workers of 1 CPU; free now: 1 of 4 CPU"):
        watch.after_controller_state_update(RunningState(), rescheduling(WorkerGroupStartupTimeoutError(2)))


def test_who_waits_for_resources_says_so_and_who_only_starts_does_not(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    pending = {"a": {"state": "PENDING", "bundles": {0: {"CPU": 1.0}, 1: {"CPU": 1.0}}}}
    monkeypatch.setattr(guard.ray, "available_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(guard.ray, "cluster_resources", lambda: {"CPU": 4.0})
    groups: dict[str, Any] = {}
    monkeypatch.setattr(guard.ray.util, "placement_group_table", lambda: groups)
    watch = started(folder, notice_s=0.1)
    watch.before_worker_group_start(SimpleNamespace(num_workers=2))
    time.sleep(1.3)
    assert "waiting" not in caplog.text  # its group has its resources, and its processes start
    groups |= pending
    time.sleep(1.3)
    assert "waiting for 2 workers of 1 CPU; free now: 1 of 4 CPU, 0 of 0 GPU; for 2 s so far" in caplog.text
    assert [event["event"] for event in events(folder)] == ["waiting"]
    watch.after_worker_group_start(None)


def test_trains_warnings_and_tracebacks_are_kept_in_the_run(folder: RunFolder):
    started(folder)
    logging.getLogger("ray.train.v2").warning("a warning")
    logging.getLogger("ray.train.v2").info("small talk")
    logging.getLogger("ray.train.v2._internal.execution.failure_handling.default").setLevel(logging.INFO)
    logging.getLogger("ray.train.v2._internal.execution.failure_handling.default").info("a traceback")
    text = (folder.read(TRAIN_LOG) or b"").decode()
    assert "a warning" in text
    assert "a traceback" in text
    assert "small talk" not in text
