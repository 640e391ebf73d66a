"""The command before it joins a cluster: names, claims, and what a run is started or resumed with."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import train
from cluster.claim import claimed
from cluster.storage import SETTINGS_FILE, RunFolder
from ecul.config import Config
from ecul.errors import ConfigError
from ecul.settings import config_tree

Build = Callable[..., Config]


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows would join a cluster."""

    def join(*arguments: object, **options: object) -> None:
        raise ConfigError("joined")

    monkeypatch.setattr(train, "connect", join)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config_file(tiny_config: Build, tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(config_tree(tiny_config())))
    return str(path)


def arguments(*given: str) -> argparse.Namespace:
    return train.build_parser().parse_args(given)


def begin(folder: RunFolder, *given: str) -> None:
    train._fresh(arguments(*given)).write(folder)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "give --config FILE"),
        (["--resume", "a", "--config", "c.yaml"], "leave out --config"),
        (["--resume", "a", "--resume-or-start"], "leave out --config, --name and --resume-or-start"),
        (["--config", "c.yaml", "--resume-or-start"], "--resume-or-start needs --name"),
        (["--config", "c.yaml", "--name", ".."], "a name has up to"),
        (["--resume", "absent"], "holds no run to resume"),
        # before Ray is started, which takes half a minute
        (["--config", "configs/sysu.yaml", "--address", "local"], "no dataset folder"),
    ],
)
def test_options_that_do_not_fit_are_one_line_and_leave_nothing(
    given: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    storage = tmp_path / "runs"
    assert train.main([*given, "--storage", str(storage)]) == 2
    printed = capsys.readouterr().err
    assert text in printed
    assert printed.count("\n") == 1
    assert not [*storage.glob("*")]


def test_a_run_that_lives_is_neither_started_again_nor_resumed(
    tmp_path: Path, config_file: str, capsys: pytest.CaptureFixture[str]
):
    folder = RunFolder(str(tmp_path), "same")
    new = ["--config", config_file, "--cpu", "--name", "same"]
    with claimed(folder):  # as the first command does before it connects
        assert train.main([*new, "--storage", str(tmp_path)]) == 2
        begin(folder, *new)
        for again in (new, [*new, "--resume-or-start"], ["--resume", "same"]):
            assert train.main([*again, "--storage", str(tmp_path)]) == 2
    refused = capsys.readouterr().err.splitlines()
    assert len(refused) == 4
    assert all("is being trained by process " in line for line in refused)


def test_a_finished_command_leaves_the_name_to_resume_or_start(
    tmp_path: Path, config_file: str, capsys: pytest.CaptureFixture[str]
):
    folder = RunFolder(str(tmp_path), "same")
    new = ["--config", config_file, "--cpu", "--name", "same", "--storage", str(tmp_path)]
    assert train.main([*new, "--resume-or-start"]) == 2  # "joined": nothing is there, so it would start
    assert not folder.exists()
    begin(folder, *new)
    assert train.main(new) == 2
    assert train.main([*new, "--resume-or-start"]) == 2
    assert train.main(["--resume", "same", "--storage", str(tmp_path)]) == 2
    said = [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "joined",
        f"{tmp_path}/same already holds a run; use --resume same or another --name",
        "joined",
        "joined",
    ]


def test_tracker_and_its_settings_survive_a_resume(tmp_path: Path, config_file: str, monkeypatch: pytest.MonkeyPatch):
    folder = RunFolder(str(tmp_path), "run")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "p")
    begin(folder, "--config", config_file, "--cpu", "--tracker", "wandb")
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_PROJECT")
    resumed = train._resumed(arguments("--resume", "run"), folder).tracker
    assert (resumed.kind, resumed.mode, resumed.project) == ("wandb", "offline", "p")
    assert len(resumed.uid) == 8
    assert train._resumed(arguments("--resume", "run", "--tracker", "none"), folder).tracker.kind == "none"
    old = folder.read_json(SETTINGS_FILE)
    del old["tracker"]  # as runs of earlier versions have it
    folder.write(SETTINGS_FILE, json.dumps(old).encode())
    assert train._resumed(arguments("--resume", "run"), folder).tracker.kind == "none"


def test_a_run_that_is_started_anew_is_another_one_for_its_tracker(tmp_path: Path, config_file: str):
    first, second = (train._fresh(arguments("--config", config_file)).tracker.uid for _ in range(2))
    assert first != second


def test_resume_or_start_keeps_what_the_run_was_started_with(
    tmp_path: Path, config_file: str, caplog: pytest.LogCaptureFixture
):
    folder = RunFolder(str(tmp_path), "run")
    given = ["--config", config_file, "--cpu", "--name", "run", "--resume-or-start"]
    begin(folder, *given)
    same = train._resumed(arguments(*given), folder)
    assert caplog.text == ""
    changed = [*given, "--set", "seed=7", "--set", "stages.united=9", "--workers", "2"]
    resumed = train._resumed(arguments(*changed), folder)
    assert resumed.config.seed == same.config.seed
    assert resumed.config.stages.united == 9
    assert resumed.cluster.num_workers == 2
    assert "changes of seed are ignored" in caplog.text


def test_a_storage_that_ray_removes_is_refused(
    tmp_path: Path, config_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    package = tmp_path / "working_dir_files" / "_ray_pkg_0"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)
    assert train.main(["--config", config_file]) == 2
    assert "lies in the job's working directory" in capsys.readouterr().err
    assert not list(package.iterdir())


def test_a_stopped_command_names_the_last_checkpoint_and_how_to_go_on(
    tmp_path: Path, config_file: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    folder = RunFolder(str(tmp_path), "run")

    def stop(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "connect", stop)
    new = ["--config", config_file, "--cpu", "--name", "run", "--storage", str(tmp_path), "--address", "local"]
    assert train.main(new) == 130
    begin(folder, *new)
    (tmp_path / "run" / "checkpoints" / "epoch_0004").mkdir(parents=True)
    assert train.main(["--resume", "run", *new[5:]]) == 130
    assert caplog.messages == [
        "stopped before the training began: start the command again",
        f"stopped; the last checkpoint is {tmp_path}/run/checkpoints/epoch_0004; go on with: "
        f"python -m cluster.train --resume run --storage {tmp_path} --address local",
    ]
