import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecul.cli import COMMANDS, main
from ecul.config import Config
from ecul.settings import config_tree


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
        (["evaluate", "nowhere"], "nowhere"),
        (["export", "nowhere", "--out", "x.safetensors"], "nowhere"),
        (["embed", "nowhere.png", "--weights", "nowhere.safetensors"], "nowhere.safetensors"),
        (["doctor", "nowhere"], "nowhere"),
        (["cluster", "nowhere.npz", "--preset", "emcc", "--out", "x.npz"], "nowhere.npz"),
        (["rank", "nowhere.npz", "--protocol", "sysu"], "nowhere.npz"),
        (["pretrain", "--steps", "0", "--out", "x"], "--steps is 0"),
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


def test_pretraining_writes_weights_that_training_takes(config_file: Path, tmp_path: Path):
    weights = tmp_path / "p.safetensors"
    small = ["--identities", "6", "--cameras", "2", "--size", "32x16", "--steps", "2", "--batch-size", "4"]
    assert main(["pretrain", *small, "--out", str(weights), "--device", "cpu"]) == 0
    options = ["--set", f"model.weights={weights}", "--set", "stages.united=0"]
    assert main(["train", "--config", str(config_file), *options, "--out", str(tmp_path / "run")]) == 0
