import json
import threading
from pathlib import Path

import pytest

from cluster.storage import (
    EVENTS_FILE,
    SNAPSHOT_FILE,
    RunFolder,
    record_event,
    resolve_storage,
)
from ecul.errors import ConfigError


def test_paths_become_absolute_and_uris_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_storage("runs") == str(tmp_path / "runs")
    assert resolve_storage("s3://bucket/runs") == "s3://bucket/runs"


def test_files_are_written_and_read_back(tmp_path: Path):
    folder = RunFolder(str(tmp_path), "run")
    assert folder.local == tmp_path / "run"
    assert not folder.exists()
    assert folder.read("a.txt") is None
    folder.write("a.txt", b"one")
    folder.write("a.txt", b"two")
    assert folder.read("a.txt") == b"two"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("storage", ["{path}", "memory://runs"])
def test_events_are_added_line_by_line(tmp_path: Path, storage: str):
    folder = RunFolder(storage.format(path=tmp_path), "run")
    for number in range(3):
        record_event(folder, "x", number=number)
    lines = (folder.read(EVENTS_FILE) or b"").decode().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [0, 1, 2]


def test_a_storage_of_no_known_kind_is_refused():
    with pytest.raises(ConfigError, match="nowhere://x"):
        RunFolder("nowhere://x", "run")


@pytest.mark.parametrize("storage", ["{path}", "memory://exclusive"])
def test_a_file_is_created_once(tmp_path: Path, storage: str):
    folder = RunFolder(storage.format(path=tmp_path), "run")
    folder.create("claims/1.json", b"one")
    with pytest.raises(FileExistsError):
        folder.create("claims/1.json", b"two")
    assert folder.read("claims/1.json") == b"one"
    assert folder.names("claims") == ["1.json"]
    folder.remove("claims/1.json", "claims/absent")
    assert not folder.exists()


def test_an_event_that_cannot_be_written_is_logged_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def stale(self: RunFolder, name: str, text: str) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(RunFolder, "append", stale)
    record_event(RunFolder(str(tmp_path), "run"), "worker_failed", rank=1)
    assert "Stale file handle" in caplog.text
    assert '"rank": 1' in caplog.text


def snapshot(*names: str) -> bytes:
    return json.dumps({"checkpoint_results": [{"checkpoint_dir_name": name} for name in names]}).encode()


def test_a_broken_snapshot_is_dropped_and_a_good_one_stays(tmp_path: Path):
    folder = RunFolder(str(tmp_path), "run")
    assert not folder.drop_broken_snapshot()
    (tmp_path / "run/checkpoints/epoch_0001").mkdir(parents=True)
    for content, broken in (
        (snapshot("checkpoints/epoch_0001"), False),
        (snapshot("checkpoints/epoch_0001")[:-5], True),
        (snapshot("checkpoints/epoch_0001", "checkpoints/epoch_0002"), True),
        (b"", True),
    ):
        folder.write(SNAPSHOT_FILE, content)
        assert folder.drop_broken_snapshot() is broken
        assert folder.exists(SNAPSHOT_FILE) is not broken


def test_checkpoints_are_listed_oldest_first(tmp_path: Path):
    folder = RunFolder(str(tmp_path), "run")
    assert folder.checkpoint_names() == []
    for epoch in (10, 2, 9):
        (tmp_path / f"run/checkpoints/epoch_{epoch:04d}").mkdir(parents=True)
    assert folder.checkpoint_names() == ["epoch_0002", "epoch_0009", "epoch_0010"]


def test_processes_that_make_and_remove_a_folder_at_once_disturb_nobody(tmp_path: Path):
    folder, done, errors = RunFolder(str(tmp_path), "run"), threading.Event(), list[Exception]()

    def come_and_go(name: str) -> None:
        try:
            while not done.is_set():
                folder.write(f"claims/{name}", b"written")
                assert folder.read(f"claims/{name}") == b"written"
                folder.remove(f"claims/{name}")
                folder.create(f"claims/{name}", b"created")
                assert folder.read(f"claims/{name}") == b"created"
                folder.remove(f"claims/{name}")
                folder.append(f"claims/{name}", "appended")
                assert folder.read(f"claims/{name}") == b"appended"
                folder.remove(f"claims/{name}")
        except Exception as error:
            errors.append(error)

    others = [threading.Thread(target=come_and_go, args=(name,)) for name in ("one", "two")]
    for other in others:
        other.start()
    try:
        for _ in range(1000):
            assert {name.partition(".")[0] for name in folder.names("claims")} <= {"one", "two"}
    finally:
        done.set()
        for other in others:
            other.join()
    assert not errors
