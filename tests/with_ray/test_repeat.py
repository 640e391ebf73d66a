"""Repetitions on a real cluster: a killed driver, a failed run, and the table at the end."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ecul.config import Config
from ecul.data.synthetic import synthesize
from ecul.settings import config_tree
from tests.with_ray.runs import SmallCluster, kill_driver, results
from tune import repeat


@pytest.fixture
def regdb(tmp_path: Path, tiny_config: Callable[..., Config]) -> Path:
    """The configuration of a training on a very small RegDB."""
    root = tmp_path / "regdb"
    size = {"num_identities": 8, "num_test_identities": 4, "images_per_camera": 4, "height": 32, "width": 16}
    synthesize(root, layout="regdb", seed=0, num_workers=1, **size)
    config = tiny_config({"data.root": str(root), "evaluation.protocols": []})
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump(config_tree(config)))
    return path


def test_a_repetition_survives_a_killed_driver_and_a_failed_run(
    ray_cluster: SmallCluster, regdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    missing = tmp_path / "regdb" / "idx" / "train_visible_2.txt"
    kept = missing.read_text()
    missing.unlink()
    common = ["--storage", str(tmp_path), "--address", ray_cluster.address]
    command = ["--config", str(regdb), "--over", "data.trial=1..2", "--name", "r", "--cpu", "--tracker", "tensorboard"]
    folder = tmp_path / "r"
    kill_driver(
        ["tune.repeat", *command, *common, "--concurrency", "1"],
        dict(ray_cluster.environment),
        once=lambda: bool(results(folder / "trials")),
        seconds=180,
    )
    before = results(folder / "trials")
    assert list(before) == ["000-base-trial1"]

    assert repeat.main(["--resume", "r", *common]) == 2
    assert "train_visible_2.txt" in capsys.readouterr().out
    assert list(json.loads((folder / "failed.json").read_text())) == ["001-base-trial2"]
    after = results(folder / "trials")
    assert before == after  # the complete run was not trained again

    missing.write_text(kept)
    assert repeat.main(["--resume", "r", *common]) == 0
    text = capsys.readouterr().out
    assert "2 of 2 runs complete, 0 failed." in text
    assert "## regdb_visible_to_infrared" in text
    assert "## regdb_infrared_to_visible" in text
    assert all(f"| {run.name} " in text for run in (folder / "trials").iterdir())
    assert (folder / "report" / "report.md").read_text() == text
    assert len(list((folder / "tensorboard").iterdir())) == 2
    assert r"regdb\_visible\_to\_infrared" in (folder / "report" / "table.tex").read_text()
    assert repeat.main(["--resume", "r", "--storage", str(tmp_path)]) == 0  # needs no cluster
    assert capsys.readouterr().out == text


def test_what_cannot_be_repeated_is_refused(regdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    storage = ["--storage", str(tmp_path / "all")]
    for arguments, message in (
        (["--config", str(regdb)], "give --config FILE and --over"),
        (["--resume", "none"], "no repetition"),
        (["--resume", "none", "--over", "seed=0..1"], "leave out --over"),
        (["--config", str(regdb), "--over", "data.trial=10..11"], "data.trial"),
        (["--config", str(regdb), "--over", "seed=0", "--over", "seed=1"], "given twice"),
    ):
        assert repeat.main([*arguments, *storage]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    assert not (tmp_path / "all").exists()
