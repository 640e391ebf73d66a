"""`ecul bench train`: training and extraction beside the bare network."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ecul.cli import main
from ecul.config import Config
from ecul.settings import config_tree


def test_training_and_extraction_are_held_against_the_bare_network(
    tiny_config: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config, out = tmp_path / "tiny.yaml", tmp_path / "bench.json"
    config.write_text(json.dumps(config_tree(tiny_config())))
    assert main(["bench", "train", "--config", str(config), "--steps", "2", "--json", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    measured = json.loads(out.read_text())
    for name, key in (("training", "images_per_second"), ("extraction", "extraction_images_per_second")):
        (line,) = [line for line in lines if line.startswith(name)]
        assert measured[key] > 0
        assert measured[f"bare_{key}"] > 0
        assert line.endswith(f"{measured[f'bare_{key}'] / measured[key]:.2f} x its time")
    assert any(line.strip().startswith("forward") for line in lines)
