import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.reporting import open_reporter
from cluster.storage import RunFolder
from cluster.tracking.interface import TrackerSettings
from ecul.engine.interfaces import FitResult
from ecul.errors import TrainingError
from tests.cluster.tracking.wandb_files import offline_runs

PROVENANCE = {"dataset": "x", "num_training_images": 1, "num_test_images": 1, "device": "cpu"}
EPOCHS = [{"epoch": float(epoch), "stage": 1.0, "seconds/train": 1.0, "loss/total": 1.0} for epoch in (1, 2)]
WANDB = TrackerSettings(kind="wandb")


def test_a_training_that_failed_keeps_its_epochs_and_a_resumed_one_sends_them_again(wandb_home, tiny_config, caplog):
    folder = RunFolder(str(wandb_home / "my runs"), "run")

    def fail():
        with open_reporter(folder, tracker=WANDB, profile=False) as reporter:
            reporter.start(tiny_config(), PROVENANCE, epoch=0)
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

    caplog.set_level("INFO")
    with open_reporter(folder, tracker=WANDB, profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=1, history=reporter.history(1))
        reporter.epoch(EPOCHS[1])
    (resumed,) = offline_runs(folder.local).values()
    assert [row["_step"] for row in resumed["history"]] == [1, 2]
    # so the folder that is named last is the only one to upload
    (command,) = re.findall(r"wandb sync .*", caplog.text)
    *_, named = shlex.split(command)
    assert [path.suffix for path in Path(named).glob("*.wandb")] == [".wandb"]


def test_a_complete_run_is_uploaded_without_its_earlier_starts(wandb_home, tiny_config):
    folder = RunFolder(str(wandb_home), "run")
    other = wandb_home / "run" / "wandb" / "offline-run-20200101_000000-other" / "run-other.wandb"
    other.parent.mkdir(parents=True)
    other.touch()

    def to_upload():
        command = [sys.executable, "-m", "wandb", "sync", "--dry-run", *map(str, folder.local.glob("wandb/offline-*"))]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return set(re.findall(r"offline-run-\S+(?=/)", told.stdout + told.stderr)) - {other.parent.name}

    with open_reporter(folder, tracker=WANDB, profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=0)
    (failed,) = to_upload()
    time.sleep(1.1)  # W&B names its folders by the second
    with open_reporter(folder, tracker=WANDB, profile=False) as reporter:
        reporter.start(tiny_config(), PROVENANCE, epoch=0)
        reporter.finish(FitResult(2, (), {}))
    (complete,) = to_upload()
    assert complete > failed
    assert not other.with_suffix(".wandb.synced").exists()
