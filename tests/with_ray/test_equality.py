"""The distributed training computes what the local one computes."""

from pathlib import Path

import pytest
import torch

from ecul.config import Config
from ecul.engine.checkpoints import read_checkpoint
from tests.with_ray.runs import assert_same_run, events, numbers, state


def test_one_worker_computes_the_bits_of_the_local_command(
    undisturbed: dict[int | str, Path], frozen_config: Config, local_run: Path
):
    folder = undisturbed[1]
    assert_same_run(folder, local_run)
    assert {path.name for path in local_run.iterdir()} <= {path.name for path in folder.iterdir()}
    assert [event["event"] for event in events(folder)] == ["training", "finished"]
    assert len(list((folder / "checkpoints").iterdir())) == frozen_config.runtime.keep_checkpoints
    for run in (folder, local_run):
        assert [path.relative_to(run) for path in (run / "kept").rglob("*.*")] == [Path("kept/epoch_0002/state.pt")]
    assert read_checkpoint(folder / "kept/epoch_0002/state.pt")["epoch"] == 2


def test_the_number_of_workers_changes_only_the_rounding(undisturbed: dict[int | str, Path], local_run: Path):
    folder = undisturbed[4]
    torch.testing.assert_close(state(folder)["labels"], state(local_run)["labels"], rtol=0, atol=0)
    for mine, theirs in zip(numbers(folder), numbers(local_run), strict=True):
        assert {key for key in mine if not key.startswith("rank")} == set(theirs)
        for key, value in theirs.items():
            assert mine[key] == pytest.approx(value, rel=1e-3, abs=1e-4), key
