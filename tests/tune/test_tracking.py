import threading
import time

import numpy as np
import pytest
from PIL import Image

from cluster import tracking
from cluster.hooks import open_reporter
from cluster.storage import RunFolder
from cluster.trackers import wandb_mode
from cluster.tracking import Background, run_of, track
from ecul.engine.interfaces import FitResult
from ecul.errors import ConfigError, TrainingError
from tests.tune.wandb_files import offline_runs

FACTS = {"dataset": "x", "num_training_images": 1, "num_test_images": 1, "device": "cpu"}
EPOCHS = [{"epoch": float(epoch), "stage": 1.0, "seconds/train": 1.0, "loss/total": 1.0} for epoch in (1, 2)]
KEY = "0123456789abcdef0123456789abcdef01234567"


class Inner:
    """A reporter that remembers."""

    def __init__(self):
        self.calls, self.warnings = [], []

    def start(self, config, facts, *, epoch):
        self.calls.append("start")

    def progress(self, epoch, step, num_steps):
        self.calls.append("progress")

    def epoch(self, record):
        self.calls.append("epoch")

    def warn(self, message):
        self.warnings.append(message)

    def finish(self, result):
        self.calls.append("finish")


@pytest.fixture
def wandb_home(tmp_path, monkeypatch):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_RUN_GROUP", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def service():
    yield
    import wandb

    wandb.teardown()


def drive(reporter, config, epochs=2):
    reporter.start(config, {"dataset": "x"}, epoch=0)
    for epoch in range(1, epochs + 1):
        reporter.progress(epoch, 1, 1)
        reporter.epoch({"epoch": float(epoch), "loss/total": 1.0 / epoch})
    reporter.finish(FitResult(epochs, (), {"evaluation/map": 0.5}))


def test_a_run_is_kept_offline_without_a_key_and_reads_back(wandb_home, tiny_config, caplog):
    caplog.set_level("INFO")
    folder = RunFolder(str(wandb_home), "run")
    folder.local.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder.local / "curves.png")
    inner = Inner()
    drive(track(inner, folder, "wandb"), tiny_config())
    assert inner.warnings == []
    assert inner.calls == ["start", "progress", "epoch", "progress", "epoch", "finish"]
    assert "wandb sync" in caplog.text
    (run,) = offline_runs(folder.local).values()
    assert run["ended"]
    assert run["config"]["stages"] == {"bootstrap": 0, "intra": 1, "united": 2, "iterations": 3}
    assert run["config"]["facts"] == {"dataset": "x"}
    epochs = [row for row in run["history"] if "loss/total" in row]
    assert [(row["_step"], row["loss/total"]) for row in epochs] == [(1, 1.0), (2, 0.5)]
    assert any("curves.path" in row for row in run["history"])
    assert run["summary"]["final/evaluation/map"] == 0.5


def test_a_training_that_failed_keeps_its_epochs_and_one_that_goes_on_sends_them_again(wandb_home, tiny_config):
    folder = RunFolder(str(wandb_home), "run")

    def fail():
        with open_reporter(folder, "wandb") as reporter:
            reporter.start(tiny_config(), FACTS, epoch=0)
            reporter.epoch(EPOCHS[0])
            raise TrainingError("no")

    with pytest.raises(TrainingError):
        fail()
    (failed,) = offline_runs(folder.local).values()
    assert failed["ended"]
    assert [row["_step"] for row in failed["history"]] == [1]
    assert failed["summary"]["state"] == "failed"
    for file in folder.local.glob("wandb/offline-run-*/*.wandb"):
        file.unlink()

    with open_reporter(folder, "wandb") as reporter:
        reporter.start(tiny_config(), FACTS, epoch=1)
        reporter.epoch(EPOCHS[1])
    (resumed,) = offline_runs(folder.local).values()
    assert [row["_step"] for row in resumed["history"]] == [1, 2]


def test_the_checkpoint_is_sent_on_request(wandb_home, tiny_config):
    folder = RunFolder(str(wandb_home), "run")
    checkpoint = folder.local / "checkpoints" / "epoch_0002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.pt").write_bytes(b"weights")
    inner = Inner()
    drive(track(inner, folder, "wandb+checkpoint"), tiny_config())
    assert inner.warnings == []
    (run,) = offline_runs(folder.local).values()
    assert run["artifacts"]


def test_no_key_is_left_in_any_file(wandb_home, tiny_config, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = RunFolder(str(wandb_home), "run")
    drive(track(Inner(), folder, "wandb"), tiny_config())
    files = [path for path in wandb_home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in caplog.text


def test_groups_and_folders_come_from_the_environment(wandb_home, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "sweep")
    monkeypatch.setenv("WANDB_DIR", str(wandb_home / "there"))
    first, second = (run_of(RunFolder(str(wandb_home / name), "00001"), {}) for name in ("a", "b"))
    assert (first.group, first.kind, first.name) == ("sweep", "trial", "sweep-00001")
    assert first.directory == wandb_home / "there"
    assert first.id != second.id
    assert first.id == run_of(RunFolder(str(wandb_home / "a"), "00001"), {}).id


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


def test_none_and_disabled_track_nothing(wandb_home, monkeypatch):
    inner = Inner()
    assert track(inner, RunFolder(str(wandb_home), "run"), "none") is inner
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert track(inner, RunFolder(str(wandb_home), "run"), "wandb") is inner
    with pytest.raises(ConfigError, match="unknown tracker"):
        track(inner, RunFolder(str(wandb_home), "run"), "mlflow")


@pytest.mark.parametrize("error", [OSError("disk full"), RuntimeError("service died"), ImportError("no wandb")])
def test_a_tracker_that_fails_is_told_once_and_the_run_goes_on(wandb_home, tiny_config, monkeypatch, error):
    def broken(tracker, run):
        raise error

    monkeypatch.setattr(tracking, "open_run", broken)
    inner = Inner()
    drive(track(inner, RunFolder(str(wandb_home), "run"), "wandb"), tiny_config(), epochs=5)
    assert len(inner.warnings) == 1
    assert str(error) in inner.warnings[0]
    assert inner.calls.count("epoch") == 5
    assert inner.calls[-1] == "finish"


def test_wandbs_own_errors_are_failures_too():
    from wandb.errors import CommError

    told = []
    background = Background(told.append)
    background.submit(lambda: (_ for _ in ()).throw(CommError("network")))
    assert background.close()
    assert "network" in told[0]


def test_a_tracker_that_hangs_is_left_behind(wandb_home, tiny_config, monkeypatch):
    forever = threading.Event()

    def hang(tracker, run):
        forever.wait(30)
        raise OSError("too late")

    monkeypatch.setattr(tracking, "open_run", hang)
    monkeypatch.setattr(tracking, "_CLOSE_SECONDS", 0.2)
    inner = Inner()
    start = time.monotonic()
    drive(track(inner, RunFolder(str(wandb_home), "run"), "wandb"), tiny_config())
    assert time.monotonic() - start < 5
    assert "left behind" in inner.warnings[0]
    forever.set()


def test_tensorboard_keeps_the_figures(wandb_home, tiny_config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(str(wandb_home), "run")
    inner = Inner()
    drive(track(inner, folder, "tensorboard"), tiny_config())
    assert inner.warnings == []
    events = EventAccumulator(str(folder.local / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/total")] == [(1, 1.0), (2, 0.5)]
