import json
from pathlib import Path
from typing import Any, cast

import pytest
import ray.exceptions
import ray.train
import torch
import torch.distributed as dist
from ray.train.torch import TorchTrainer
from torch.distributed import DistNetworkError

from cluster.config import load_cluster_config
from cluster.storage import EVENTS_FILE, SNAPSHOT_FILE
from cluster.trainer import backend_of, run
from ecul.engine.interfaces import FitResult
from ecul.engine.run_files import CHECKPOINTS
from ecul.errors import TrainingError


def test_workers_with_gpus_have_a_backend_for_each_device():
    assert backend_of(load_cluster_config(None)) == "cpu:gloo,cuda:nccl"
    assert backend_of(load_cluster_config(None, {"cpu": True})) == "gloo"


@pytest.mark.gpu
def test_objects_go_over_gloo_and_tensors_over_nccl(tmp_path: Path):
    backend = backend_of(load_cluster_config(None))
    dist.init_process_group(backend, init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        allocated = torch.cuda.memory_allocated()
        objects = [{"labels": list(range(10_000))}]
        dist.broadcast_object_list(objects, src=0)
        assert torch.cuda.memory_allocated() == allocated
        rows = torch.ones(4, device="cuda")
        parts = [torch.empty_like(rows)]
        dist.all_gather(parts, rows)
        assert torch.equal(parts[0], rows)
    finally:
        dist.destroy_process_group()


class LosingTrainer:
    """A trainer whose controller is lost at each fit but the last; some fits leave a checkpoint before that."""

    def __init__(self, folder: Path, fits: list[int | Exception | FitResult], max_failures: int) -> None:
        self._folder = folder
        self._fits = fits
        cluster = {"max_failures": max_failures}
        self.train_loop_config = {"storage": str(folder.parent), "name": folder.name, "cluster": cluster}

    def fit(self) -> Any:
        outcome = self._fits.pop(0)
        if isinstance(outcome, FitResult):
            assert not (self._folder / SNAPSHOT_FILE).exists()
            return type("Result", (), {"return_value": outcome})
        if isinstance(outcome, Exception):
            raise outcome
        (self._folder / CHECKPOINTS / f"epoch_{outcome:04d}").mkdir(parents=True, exist_ok=True)
        (self._folder / SNAPSHOT_FILE).write_text("{half writ")
        raise ray.exceptions.ActorDiedError()


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.trainer.remove_groups", lambda folder: 0)


def lost_and_found(folder: Path, fits: list[Any], max_failures: int = 1) -> FitResult:
    return run(cast("TorchTrainer", LosingTrainer(folder, fits, max_failures)))


def test_a_lost_controller_is_replaced_while_there_is_progress(tmp_path: Path):
    done = FitResult(epoch=3, retrieval=(), record={})
    assert lost_and_found(tmp_path / "run", [1, 2, 3, done]) is done
    told = [json.loads(line) for line in (tmp_path / "run" / EVENTS_FILE).read_text().splitlines()]
    assert [event["event"] for event in told] == ["controller_lost"] * 3
    with pytest.raises(TrainingError, match=r"2 attempts in a row failed .*\(max_failures=1\); the last: the process"):
        lost_and_found(tmp_path / "run", [3, 3, done])


def test_a_controller_that_fails_without_a_mistake_is_replaced(tmp_path: Path):
    taken = ray.train.ControllerError(DistNetworkError("the port is in use: EADDRINUSE"))
    done = FitResult(epoch=3, retrieval=(), record={})
    assert lost_and_found(tmp_path / "run", [taken, done]) is done
    (told,) = [json.loads(line) for line in (tmp_path / "run" / EVENTS_FILE).read_text().splitlines()]
    assert (told["event"], told["error"]) == ("controller_failed", "DistNetworkError: the port is in use: EADDRINUSE")
    with pytest.raises(TrainingError, match=r"the last: Train's controller failed \(DistNetworkError"):
        lost_and_found(tmp_path / "other", [taken, taken, done])
    for mistake, text in ((KeyError("k"), "^Ray Train gave up: KeyError"), (TrainingError("no room"), "^no room$")):
        with pytest.raises(TrainingError, match=text):
            lost_and_found(tmp_path / "third", [ray.train.ControllerError(mistake), done])


def test_another_error_of_ray_is_one_line(tmp_path: Path):
    error = ray.exceptions.RaySystemError("the cluster\nhas gone")
    with pytest.raises(TrainingError, match=r"^Ray Train gave up: RaySystemError: System error: the cluster$"):
        lost_and_found(tmp_path / "run", [error])
