"""The distributed training computes what the local one computes.

That one worker computes the local command's bits stands in `test_faults.py` and `test_jobs.py`, where it is interrupted
besides.
"""

from pathlib import Path

import pytest
import torch

from ecul.config import Config
from ecul.engine.checkpoints import read_checkpoint
from tests.with_ray.runs import events, numbers, state


def test_the_number_of_workers_changes_only_the_rounding(undisturbed: Path, local_run: Path):
    torch.testing.assert_close(state(undisturbed)["labels"], state(local_run)["labels"], rtol=0, atol=0)
    for mine, theirs in zip(numbers(undisturbed), numbers(local_run), strict=True):
        assert {key for key in mine if not key.startswith("rank")} == set(theirs)
        for key, value in theirs.items():
            assert mine[key] == pytest.approx(value, rel=1e-3, abs=1e-4), key


def test_the_run_directory_is_that_of_the_local_command(undisturbed: Path, frozen_config: Config, local_run: Path):
    assert {path.name for path in local_run.iterdir()} <= {path.name for path in undisturbed.iterdir()}
    assert [event["event"] for event in events(undisturbed)] == ["training", "finished"]
    assert len(list((undisturbed / "checkpoints").iterdir())) == frozen_config.runtime.keep_checkpoints
    for run in (undisturbed, local_run):
        assert [path.relative_to(run) for path in (run / "kept").rglob("*.*")] == [Path("kept/epoch_0002/state.pt")]
    assert read_checkpoint(undisturbed / "kept/epoch_0002/state.pt")["epoch"] == 2
