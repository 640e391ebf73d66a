import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ecul.cli import COMMANDS, main
from ecul.config import Config
from ecul.data import images
from ecul.data.synthetic import synthesize
from ecul.engine.checkpoints import find_checkpoint, read_checkpoint
from ecul.settings import config_tree

CONFIGS = Path(__file__).parents[2] / "configs"
SYSU, SMOKE = str(CONFIGS / "sysu.yaml"), str(CONFIGS / "smoke.yaml")


@pytest.fixture(scope="module")
def config_file(tiny_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(json.dumps(config_tree(tiny_config({"evaluation.every": 2}))))
    return path


@pytest.fixture(scope="module")
def run(config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--config", str(config_file), "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "usage: ecul" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train"], "--config"),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["train", "--config", SYSU], "no dataset folder data/SYSU-MM01; say where it is with --set data.root=FOLDER"),
        (["train", "--config", SMOKE], "--set data.root=FOLDER, or draw the people of this one with `make smoke`"),
        (["synth", "--out", "x"], "give --identities N, --counts NPZ or --benchmark NAME"),
        (["evaluate", "nowhere"], "nowhere"),
        (["export", "nowhere", "--out", "x.safetensors"], "nowhere"),
        (["embed", "nowhere.png", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["doctor", "nowhere"], "nowhere"),
        (["cluster", "nowhere.npz", "--preset", "emcc", "--out", "x.npz"], "nowhere.npz"),
        (["rank", "nowhere.npz", "--protocol", "sysu"], "nowhere.npz"),
        (["pretrain", "--steps", "0", "--out", "x"], "--steps is 0"),
        (["report", "nowhere"], "nowhere"),
        (["bench", "train", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["bench", "size", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr().err.strip()
    assert text in printed
    assert "\n" not in printed
    assert "Traceback" not in printed


def test_the_package_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "ecul", "doctor", "gone"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("ecul doctor: no dataset folder gone")


@pytest.mark.parametrize("arguments", [["nothing"], ["train", "--wrong"], []])
def test_bad_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_evaluate_repeats_the_result_of_the_run(run: Path, tmp_path: Path):
    assert main(["evaluate", str(run), "--json", str(tmp_path / "again.json"), "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((run / "result.json").read_text())


def test_another_protocol_can_be_asked_for(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(run), "--protocol", "sysu_indoor_multi", "--device", "cpu"]) == 0
    assert "sysu_indoor_multi" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--protocol", "sysu_outdoor"]) == 2
    assert main(["evaluate", str(run), "--trial", "2"]) == 2
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "validation"]) == 2  # it held no people out
    assert "needs data.hold_out_validation=true" in capsys.readouterr().err


def test_other_data_are_measured_by_the_protocols_of_their_own_layout(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = tmp_path / "regdb"
    synthesize(other, layout="regdb", num_identities=3, num_test_identities=3, height=32, width=16, seed=1)
    assert main(["evaluate", str(run), "--data", str(other), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "regdb_visible_to_infrared" in printed
    assert "sysu" not in printed
    options = ["--protocol", "sysu_all_single", "--device", "cpu"]
    assert main(["evaluate", str(run), "--data", str(other), *options]) == 2
    assert "protocol 'sysu_all_single' belongs to another layout" in capsys.readouterr().err


def test_training_refuses_a_protocol_of_another_layout_before_it_reads_images(
    no_way_out: None,
    config_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(images, "read_image", lambda *_, **__: pytest.fail("an image was read"))
    options = ["--set", "evaluation.protocols=[regdb_visible_to_infrared]", "--out", str(tmp_path / "run")]
    assert main(["train", "--config", str(config_file), *options]) == 2
    assert "belongs to another layout; the data is laid out as sysu" in capsys.readouterr().err
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    options = ["--set", "model.backbone=agw_resnet50", "--set", "model.weights=imagenet", "--out", str(tmp_path / "b")]
    assert main(["train", "--config", str(config_file), *options]) == 2
    assert f"{tmp_path}/hub/checkpoints/resnet50-0676ba61.pth are missing" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "embed", "export", "pretrain", "cluster", "evaluate", "synth"])
def test_an_output_that_cannot_be_written_is_one_line_before_the_work(
    command: str, run: Path, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    np.savez(tmp_path / "f.npz", features=np.eye(3), modality=np.array([0, 1, 1]), camera=np.ones(3, int))
    (tmp_path / "file").write_text("old")
    arguments = {
        "train": ["--config", str(config_file)],
        "embed": [str(tmp_path / "file"), "--weights", "nowhere.safetensors"],
        "export": [str(run)],
        "pretrain": [],
        "cluster": [str(tmp_path / "f.npz")],
        "evaluate": [str(run)],
        "synth": ["--identities", "2"],
    }[command]
    for out in (tmp_path / "file" / "x", Path("/proc/x")):
        assert main([command, *arguments, "--json" if command == "evaluate" else "--out", str(out)]) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert str(out) in printed
    assert (tmp_path / "file").read_text() == "old"


def test_exported_weights_embed_images(run: Path, tiny_sysu: Path, tmp_path: Path):
    weights, out = tmp_path / "w.safetensors", tmp_path / "e.npz"
    images = sorted(str(path) for path in (tiny_sysu / "cam1").rglob("*.*"))[:3]
    assert main(["export", str(run), "--out", str(weights)]) == 0
    assert main(["embed", *images, "--weights", str(weights), "--out", str(out), "--device", "cpu"]) == 0
    features = np.load(out)["features"]
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), np.ones(3), rtol=1e-5)


def test_a_finished_run_is_not_overwritten_and_resumes_to_itself(
    run: Path, config_file: Path, capsys: pytest.CaptureFixture[str]
):
    before = (run / "result.json").read_text()
    assert main(["train", "--config", str(config_file), "--out", str(run)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert main(["train", "--resume", str(run)]) == 0
    assert json.loads((run / "result.json").read_text())["protocols"] == json.loads(before)["protocols"]
    assert main(["train", "--resume", str(run), "--set", "seed=3"]) == 2


def test_a_folder_of_other_files_is_no_place_for_a_run_and_stays_as_it_is(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "thesis"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        (folder / name).write_text("mine")
    assert main(["train", "--config", str(config_file), "--out", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert f"--out {folder} holds other files (a.txt, b.txt, c.txt, ...) and no run; choose another" in printed
    assert printed.count("\n") == 1
    assert len([*folder.iterdir()]) == 4


def test_a_running_training_keeps_its_folder_and_on_sigterm_says_how_to_go_on(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    train = ["train", "--config", str(config_file), "--out", str(folder), "--set", "stages.united=500"]
    with (tmp_path / "printed").open("w") as printed:
        running = subprocess.Popen([sys.executable, "-m", "ecul.cli", *train], stderr=printed)
    while not (folder / "checkpoints" / "epoch_0002").is_dir():
        assert running.poll() is None, (tmp_path / "printed").read_text()
        time.sleep(0.05)
    for again in (train, ["train", "--resume", str(folder)]):
        assert main(again) == 2
        assert f"is in use by process {running.pid} on " in capsys.readouterr().err
    running.terminate()
    assert running.wait(60) == 130
    said, last = (tmp_path / "printed").read_text().splitlines()[-2:]
    newest = find_checkpoint(folder)
    assert said == f"stopped; the last checkpoint is {newest}; go on with: ecul train --resume {folder}"
    assert last == "ecul train: interrupted"
    trained = len((folder / "metrics.jsonl").read_text().splitlines()) - 1  # without the evaluation before epoch 1
    assert read_checkpoint(newest)["epoch"] in (trained, trained - 1)


def test_pretraining_writes_weights_that_training_takes(config_file: Path, tmp_path: Path):
    weights = tmp_path / "p.safetensors"
    small = ["--identities", "6", "--cameras", "2", "--size", "32x16", "--steps", "2", "--batch-size", "4"]
    assert main(["pretrain", *small, "--out", str(weights), "--device", "cpu"]) == 0
    options = ["--set", f"model.weights={weights}", "--set", "stages.united=0"]
    assert main(["train", "--config", str(config_file), *options, "--out", str(tmp_path / "run")]) == 0
