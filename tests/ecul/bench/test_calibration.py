"""The calibration table: its lines, its targets, and trainings that are not repeated."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from ecul.bench.calibration import TRAINED, Row, ablation_config, raw_pixels, targets
from ecul.cli import main
from ecul.config import Config
from ecul.engine.session import open_data
from ecul.settings import config_tree, load_config

FOLDER = Path("configs/ablation")


def row(rank1: float, mean_average_precision: float) -> Row:
    return Row(name="", rank1=rank1, mean_average_precision=mean_average_precision)


def test_targets_hold_at_their_bounds_and_not_beyond():
    good = {
        "chance": row(0.01, 0.04),
        "raw pixels": row(0.02, 0.07),
        "random weights": row(0.02, 0.08),
        "supervised": row(0.86, 0.8),
        "intra": row(0.4, 0.4),
        "united": row(0.7, 0.61),
    }
    assert all(target.holds for target in targets(good))
    bad = {"random weights": row(0.1, 0.09), "supervised": row(0.84, 0.8), "united": row(0.7, 0.59)}
    for name, line in bad.items():
        assert sum(not target.holds for target in targets(good | {name: line})) == 1
    for rank1 in (0.3, 0.7):
        assert [target.holds for target in targets(good | {"intra": row(rank1, 0.4)})] == [True, True, False, True]


def test_raw_pixels_are_unit_vectors_that_ignore_brightness(tiny_config: Callable[..., Config]):
    config = tiny_config()
    rows = raw_pixels(config, open_data(config).test)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-6)


def test_the_shipped_ablations_have_what_the_table_trains():
    configs = {name: ablation_config(FOLDER, name, []) for name in TRAINED}
    assert {name: config.oracle for name, config in configs.items()} == {
        "supervised": "all",
        "intra": None,
        "method": None,
        "united": "united",
    }
    assert len({config.num_epochs for config in configs.values()}) == 1
    assert configs["intra"].stages.united == 0


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_an_ablation_changes_one_part(path: Path):
    base, config = config_tree(load_config(FOLDER / "base.yaml")), config_tree(load_config(path))
    changed = {key for key in base.keys() | config.keys() if base.get(key) != config.get(key)}
    assert len(changed) <= (4 if path.stem.endswith("-like") else 2), changed  # a baseline is several parts
    assert config["seed"] == base["seed"]
    assert yaml.safe_load(path.read_text())["base"] == ("../people.yaml" if path.stem == "base" else "base.yaml")


def test_the_command_prints_the_table_and_repeats_no_training(
    tiny_config: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture
):
    folder = tmp_path / "configs" / "ablation"
    folder.mkdir(parents=True)
    tree = config_tree(tiny_config({"stages": {"intra": 1, "united": 1, "iterations": 2}}))
    for name in TRAINED.values():
        own = {"oracle": name.removeprefix("oracle-")} if name.startswith("oracle-") else {}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(tree | own))
    command = ["bench", "calibrate", "--ablations", str(folder), "--out", str(tmp_path / "runs")]
    assert main([*command, "--untrained"]) == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "chance",
        "raw pixels",
        "random weights",
        "starting weights",
    ]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert all(f"\n{name} " in first for name in TRAINED)
    assert "Rank-1 at least .85" in first
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/metrics.jsonl")}
    assert len(before) == len(TRAINED)
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().out == first
