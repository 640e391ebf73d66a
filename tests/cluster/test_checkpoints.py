import json
from pathlib import Path
from typing import Any

import pytest
import ray.train
import torch

from cluster.checkpoints import RayStore
from cluster.storage import EVENTS_FILE, RunFolder
from ecul.errors import CheckpointError

STATE = {
    name: None for name in ("version", "config", "model", "optimizer", "random_state", "labels", "fallbacks")
} | {"format": 1}  # fmt: skip


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What is handed to Ray Train, which has no checkpoint and expects nothing bad."""
    reported: list[dict[str, Any]] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(ray.train, "report", lambda record, **options: reported.append(options))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.train, "get_preemption_info", lambda: None)
    return reported


def test_once_a_node_will_be_taken_away_the_workers_wait_for_each_upload(
    reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    store = RayStore(RunFolder(str(tmp_path), "run"), asynchronous=True)
    store.save(STATE | {"epoch": 1}, {})
    notice = ray.train.PreemptionInfo(deadline_ms=5, preempted_node_to_ranks={"node": [1, 2]})
    monkeypatch.setattr(ray.train, "get_preemption_info", lambda: notice)
    for epoch in (2, 3):
        store.save(STATE | {"epoch": epoch}, {})
    mode = ray.train.CheckpointUploadMode
    assert [report["checkpoint_upload_mode"] for report in reports] == [mode.ASYNC, mode.SYNC, mode.SYNC]
    (event,) = [json.loads(line) for line in (tmp_path / "run" / EVENTS_FILE).read_text().splitlines()]
    assert (event["event"], event["ranks"], event["deadline_ms"]) == ("preemption", [1, 2], 5)


def test_the_newest_whole_checkpoint_of_the_folder_is_loaded(reports: list[dict[str, Any]], tmp_path: Path):
    folder = RunFolder(str(tmp_path), "run")
    store = RayStore(folder, asynchronous=True)
    assert store.load() is None
    for epoch in (1, 2):
        path = tmp_path / "run" / "checkpoints" / f"epoch_000{epoch}" / "state.pt"
        path.parent.mkdir(parents=True)
        torch.save(STATE | {"epoch": epoch}, path)
    assert (store.load() or {})["epoch"] == 2
    path.write_bytes(path.read_bytes()[:500])
    assert (store.load() or {})["epoch"] == 1


def test_a_checkpoint_that_one_node_does_not_see_is_an_error_there(
    reports: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = RayStore(RunFolder(str(tmp_path), "run"), asynchronous=True)
    monkeypatch.setattr("ecul.runtime.on_main", lambda work: "epoch_0003")  # as rank 0 chose
    with pytest.raises(CheckpointError, match="epoch_0003 is truncated or not a checkpoint, seen from this node"):
        store.load()
