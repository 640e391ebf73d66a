import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecul.config import Config
from ecul.engine.run_directory import RunDirectory, epoch_line, foreign_entries, read_records, summary_table
from ecul.types import RetrievalResult

PROVENANCE = {"dataset": "x", "num_training_images": 1, "num_test_images": 1, "device": "cpu"}


def record(epoch: int) -> dict[str, float]:
    return {"epoch": float(epoch), "stage": 1.0, "loss/total": 1.0 / epoch}


def test_a_resumed_run_drops_the_epochs_that_it_repeats(tiny_config: Callable[..., Config], tmp_path: Path):
    first = RunDirectory(tmp_path)
    first.start(tiny_config(), PROVENANCE, epoch=0)
    for epoch in (1, 2, 3):
        first.epoch(record(epoch))
    second = RunDirectory(tmp_path)
    history = second.history(2)
    assert [line["epoch"] for line in history] == [1, 2]
    second.start(tiny_config(), PROVENANCE, epoch=2, history=history)
    second.epoch(record(3))
    assert read_records(tmp_path) == [record(epoch) for epoch in (1, 2, 3)]
    assert json.loads((tmp_path / "run.json").read_text())["resumed_after_epoch"] == 2


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path):
    assert read_records(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1.0}\n{"epo')
    assert read_records(tmp_path) == [{"epoch": 1.0}]


def test_an_epoch_and_a_result_as_text():
    line = epoch_line({"epoch": 3, "stage": 2, "loss/total": 1.5, "united/clusters": 7, "seconds/train": 2.0})
    assert line == "epoch   3  stage 2  loss 1.500  united 7  2 s"
    cmc = np.tile(np.linspace(0.5, 1, 20), (2, 1))
    counts = (np.array([50, 50]), np.array([0, 3]), np.array([7, 7]))
    result = RetrievalResult("sysu_all_single", cmc, np.array([0.2, 0.4]), np.array([0.1, 0.1]), *counts)
    assert "30.00 ± 10.00" in summary_table([result])
    assert summary_table([result]).split()[-3:] == ["50", "0-3", "7"]
    trials = result.trials()
    assert trials["without_match"] == [0, 3]
    assert trials["decided_by_ties"] == [7, 7]


def test_what_a_start_leaves_is_not_foreign_and_other_files_are(tmp_path: Path):
    assert foreign_entries(tmp_path / "missing") == []
    assert foreign_entries(tmp_path) == []
    (tmp_path / ".lock").touch()
    (tmp_path / "train.log").touch()
    (tmp_path / "pictures").mkdir()
    assert foreign_entries(tmp_path) == []
    (tmp_path / "pictures" / "a.png").touch()
    (tmp_path / "metrics.csv").touch()
    assert foreign_entries(tmp_path) == ["metrics.csv", "pictures"]
    (tmp_path / "run.json").touch()
    assert foreign_entries(tmp_path) == []
