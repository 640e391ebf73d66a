import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.reporting import RemoteRunDirectory, add_remote_report, open_reporter
from cluster.storage import EVENTS_FILE, RunFolder, epoch_records
from cluster.tracking.interface import TrackerSettings
from ecul.config import Config
from ecul.engine.interfaces import FitResult

PROVENANCE = {"dataset": "x", "num_training_images": 1, "num_test_images": 1, "device": "cpu"}
Build = Callable[..., Config]


def record(epoch: int) -> dict[str, float]:
    return {"epoch": float(epoch), "stage": 1.0, "loss/total": 1.0 / epoch}


def test_remote_storage_keeps_what_an_earlier_process_wrote(tiny_config: Build):
    folder = RunFolder("memory://reporting", "run")
    assert folder.local is None
    first = RemoteRunDirectory(folder)
    first.start(tiny_config(), PROVENANCE, epoch=0)
    first.warn("careful")
    first.epoch(record(1))
    first.epoch(record(2))
    second = RemoteRunDirectory(folder)
    second.start(tiny_config(), PROVENANCE, epoch=1, history=second.history(1))
    assert epoch_records(folder) == [record(1)]
    second.epoch(record(2))
    second.finish(FitResult(2, (), record(2)))
    second.picture("curves", b"png")
    assert epoch_records(folder) == [record(1), record(2)]
    assert folder.read("warnings.log") == b"careful\n"
    assert folder.read_json("result.json")["epoch"] == 2
    assert folder.picture_names() == ["curves"]
    assert folder.read("curves.png") == b"png"
    add_remote_report(folder, second)
    first.close()
    second.close()
    assert b"Run run" in (folder.read("report.html") or b"")


def test_a_report_that_cannot_be_made_is_a_warning_of_the_run(tiny_config: Build, tmp_path: Path):
    folder = RunFolder(str(tmp_path), "run")
    with open_reporter(folder, tracker=TrackerSettings(), profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=0)
        folder.write("inspection.npz", b"cut")
        add_remote_report(folder, reporter)
    assert "no report.html: " in (folder.read("warnings.log") or b"").decode()
    assert not folder.exists("report.html")


def test_starts_warnings_and_the_end_are_events(tiny_config: Build, tmp_path: Path):
    folder = RunFolder(str(tmp_path), "run")
    with open_reporter(folder, tracker=TrackerSettings(), profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=3)
        reporter.warn("careful")
        reporter.finish(FitResult(4, (), {}))
    events = [json.loads(line) for line in (tmp_path / "run" / EVENTS_FILE).read_text().splitlines()]
    assert [{name: value for name, value in event.items() if name != "time"} for event in events] == [
        {"event": "training", "after_epoch": 3, "num_workers": 1},
        {"event": "warning", "message": "careful"},
        {"event": "finished", "epoch": 4},
    ]


def test_the_local_copy_of_a_remote_run_is_removed(tiny_config: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with open_reporter(RunFolder("memory://copies", "run"), tracker=TrackerSettings(), profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=0)
        assert [path.name.startswith("ecul-scratch-run-") for path in tmp_path.iterdir()] == [True]
    assert not list(tmp_path.iterdir())
