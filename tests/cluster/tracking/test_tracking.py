import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image

from cluster.reporting import open_reporter
from cluster.storage import RunFolder
from cluster.tracking import background
from cluster.tracking.background import Background
from cluster.tracking.interface import TRACKERS, TrackedRun, TrackerError, TrackerSettings
from cluster.tracking.registry import OPENERS, is_tracked, tracker_settings
from cluster.tracking.reporter import TrackingReporter, run_of
from cluster.tracking.wandb_run import WandbRun, wandb_mode
from ecul.engine.interfaces import FitResult
from ecul.errors import ConfigError
from ecul.settings import config_tree
from tests.cluster.tracking.wandb_files import offline_runs

PROVENANCE = {"dataset": "x", "num_training_images": 1, "num_test_images": 1, "device": "cpu"}
EPOCHS = [{"epoch": float(epoch), "stage": 1.0, "seconds/train": 1.0, "loss/total": 1.0} for epoch in (1, 2)]
WANDB, NONE = TrackerSettings(kind="wandb"), TrackerSettings()
KEY = "0123456789abcdef0123456789abcdef01234567"


def drive(folder, tracker, config, epochs=2):
    """Reports a whole run to a tracker and returns the warnings."""
    warnings = []
    reporter = TrackingReporter(folder, TrackerSettings.model_validate({"kind": tracker}), warnings.append)
    reporter.start(config, {"dataset": "x"}, epoch=0)
    for epoch in range(1, epochs + 1):
        reporter.progress(epoch, 1, 1)
        reporter.epoch({"epoch": float(epoch), "loss/total": 1.0 / epoch})
    reporter.finish(FitResult(epochs, (), {"evaluation/map": 0.5}))
    picture = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture, "png")
    reporter.picture("curves", picture.getvalue())
    reporter.file("inspection.npz", b"stays in the run directory")
    reporter.file("report.html", b"<!DOCTYPE html>")
    reporter.close()
    return warnings


def artifact_type(record):
    return record["artifact"]["type"]


def test_a_run_is_kept_offline_without_a_key_and_reads_back(wandb_home, tiny_config, caplog):
    caplog.set_level("INFO")
    folder = RunFolder(str(wandb_home), "run")
    assert drive(folder, "wandb", tiny_config()) == []
    assert "wandb sync" in caplog.text
    (run,) = offline_runs(folder.local).values()
    assert run["ended"]
    assert run["config"]["stages"] == config_tree(tiny_config())["stages"]
    assert run["config"]["provenance"] == {"dataset": "x"}
    epochs = [row for row in run["history"] if "loss/total" in row]
    assert [(row["_step"], row["loss/total"]) for row in epochs] == [(1, 1.0), (2, 0.5)]
    assert any("curves.path" in row for row in run["history"])
    assert [artifact_type(record) for record in run["artifacts"]] == ["report"]
    assert run["axes"] == {"*": "epoch"}
    assert run["summary"]["final/evaluation/map"] == 0.5
    assert run["summary"]["state"] == "complete"


def test_the_checkpoint_is_sent_on_request(wandb_home, tiny_config):
    folder = RunFolder(str(wandb_home), "run")
    checkpoint = folder.local / "checkpoints" / "epoch_0002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pt").write_bytes(b"weights")
    assert drive(folder, "wandb+checkpoint", tiny_config()) == []
    (run,) = offline_runs(folder.local).values()
    assert {artifact_type(record) for record in run["artifacts"]} == {"model", "report"}


def test_no_key_is_left_in_any_file(wandb_home, tiny_config, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = RunFolder(str(wandb_home), "run")
    drive(folder, "wandb", tiny_config())
    files = [path for path in wandb_home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in caplog.text


def test_a_run_has_the_name_of_its_folder_and_an_id_of_its_own(wandb_home):
    first, second = (run_of(RunFolder(str(wandb_home / name), "00001"), {}, WANDB) for name in ("a", "b"))
    assert (first.group, first.kind, first.name) == ("", "train", "00001")
    assert first.directory == wandb_home / "a" / "00001"
    assert first.id != second.id
    assert first.id == run_of(RunFolder(str(wandb_home / "a"), "00001"), {}, WANDB).id
    anew = run_of(RunFolder(str(wandb_home / "a"), "00001"), {}, TrackerSettings(kind="wandb", uid="0a1b2c3d"))
    assert anew.id == "00001-0a1b2c3d"


def test_settings_come_from_the_commands_environment_and_survive_a_resume(wandb_home, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    for name, value in {"MODE": "offline", "PROJECT": "p", "ENTITY": "e", "RUN_GROUP": "g", "DIR": "there"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.chdir(wandb_home)
    begun = tracker_settings("wandb", TrackerSettings(uid="1"))
    assert begun == TrackerSettings(
        kind="wandb", uid="1", mode="offline", project="p", entity="e", group="g", directory=str(wandb_home / "there")
    )
    assert KEY not in begun.model_dump_json()
    for name in ("MODE", "PROJECT", "ENTITY", "RUN_GROUP", "DIR"):
        monkeypatch.delenv(f"WANDB_{name}")
    stored = TrackerSettings.model_validate_json(begun.model_dump_json())
    assert tracker_settings(None, stored) == begun
    monkeypatch.setenv("WANDB_PROJECT", "q")
    changed = tracker_settings("tensorboard", stored)
    assert (changed.kind, changed.project, changed.entity) == ("tensorboard", "q", "e")
    with pytest.raises(ConfigError, match="unknown tracker"):
        tracker_settings("mlflow")


def test_a_worker_uses_the_settings_that_it_was_handed_and_not_its_own_environment(
    wandb_home, monkeypatch, tiny_config
):
    folder = RunFolder(str(wandb_home), "run")
    monkeypatch.setenv("WANDB_MODE", "online")  # of the worker's node
    monkeypatch.setenv("WANDB_PROJECT", "of-the-node")
    handed = TrackerSettings(kind="wandb", mode="offline", project="p", group="g", directory=str(wandb_home / "there"))
    with open_reporter(folder, tracker=handed, profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=0)
        reporter.epoch(EPOCHS[0])
        reporter.finish(FitResult(1, (), {}))
    (run,) = offline_runs(wandb_home / "there").values()
    assert run["ended"]
    assert (run["project"], run["group"]) == ("p", "g")


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": KEY}, "online"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
    ],
)
def test_the_mode_follows_the_key_unless_it_is_given(wandb_home, monkeypatch, environment, mode):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wandb_mode() == mode


def test_a_key_in_the_netrc_file_counts(wandb_home):
    (wandb_home / "no-netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (wandb_home / "no-netrc").chmod(0o600)
    assert wandb_mode() == "online"


def test_every_tracker_but_none_can_be_opened():
    assert {"none", *OPENERS} == set(TRACKERS)


def test_none_and_disabled_track_nothing(monkeypatch):
    assert not is_tracked(NONE)
    assert is_tracked(TrackerSettings(kind="tensorboard"))
    assert not is_tracked(TrackerSettings(kind="wandb", mode="disabled"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not is_tracked(WANDB)
    assert is_tracked(TrackerSettings(kind="wandb", mode="offline"))


@pytest.mark.parametrize(
    "error", [OSError("disk full"), RuntimeError("service died"), ImportError("no wandb"), KeyError("a bug of wandb")]
)
def test_a_tracker_that_fails_is_reported_once_and_the_run_continues(wandb_home, tiny_config, monkeypatch, error):
    def broken(tracker, run):
        raise error

    monkeypatch.setattr(background, "open_log", broken)
    folder = RunFolder(str(wandb_home), "run")
    with open_reporter(folder, tracker=WANDB, profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=0)
        for epoch in range(1, 6):
            reporter.epoch(EPOCHS[0] | {"epoch": float(epoch)})
        reporter.finish(FitResult(5, (), {}))
    (warning,) = (folder.local / "warnings.log").read_text().splitlines()
    assert str(error) in warning
    assert ("tracking is off" if isinstance(error, ImportError) else "tracking stopped") in warning
    events = [json.loads(line)["event"] for line in folder.read("events.jsonl").splitlines()]
    assert sorted(events) == ["finished", "training", "warning"]
    assert len(reporter.history(5)) == 5


def test_wandbs_own_errors_are_failures_too(wandb_home, monkeypatch):
    import wandb
    from wandb.errors import CommError

    def unreachable(**options):
        raise CommError("network")

    monkeypatch.setattr(wandb, "init", unreachable)
    run = TrackedRun(id="1", name="run", group="", kind="train", directory=wandb_home)
    with pytest.raises(TrackerError, match="CommError: network"):
        WandbRun(run, WANDB)
    warnings = []
    work = Background(warnings.append)
    work.submit(lambda: WandbRun(run, WANDB))
    assert work.close()
    assert "network" in warnings[0]


def test_a_tracker_that_hangs_is_left_behind(wandb_home, tiny_config, monkeypatch):
    forever = threading.Event()

    def hang(tracker, run):
        forever.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(background, "open_log", hang)
    monkeypatch.setattr(background, "_STALL_SECONDS", 0.2)
    start = time.monotonic()
    warnings = drive(RunFolder(str(wandb_home), "run"), "wandb", tiny_config())
    assert time.monotonic() - start < 5
    assert "left behind" in warnings[0]
    forever.set()


def test_tensorboard_keeps_the_metrics(wandb_home, tiny_config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(str(wandb_home), "run")
    assert drive(folder, "tensorboard", tiny_config()) == []
    events = EventAccumulator(str(folder.local / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/total")] == [(1, 1.0), (2, 0.5)]
