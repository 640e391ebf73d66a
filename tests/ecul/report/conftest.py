"""Finished runs with all that a report shows."""

import json
from pathlib import Path

import pytest

from ecul.cli import main
from ecul.settings import config_tree


@pytest.fixture(scope="session")
def runs(tiny_config, tmp_path_factory) -> Path:
    """A folder with two runs that differ in k2, and so in more than their seed; the second has no inspection."""
    folder = tmp_path_factory.mktemp("report") / "runs"
    folder.mkdir()
    second = {"clustering.united.k2": 2, "seed": 1, "runtime.report": False}
    for name, changes in {"first": {"runtime.report": True}, "second": second}.items():
        config = tiny_config({"evaluation.every": 2, **changes})
        (folder / "config.yaml").write_text(json.dumps(config_tree(config)))
        assert main(["train", "--config", str(folder / "config.yaml"), "--out", str(folder / name)]) == 0
    return folder
