"""Which checkpoint a training over Ray begins from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import ray.train
import torch

from cluster.checkpoints import RayStore
from cluster.storage import RunFolder
from ecul.config import Config
from ecul.engine.checkpoints import LocalStore
from ecul.engine.state import TrainState
from ecul.errors import CheckpointError
from ecul.models.backbone import build_model


@pytest.fixture(scope="module")
def trained(tiny_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    model = build_model("small")
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in (1, 2, 3):
        state = TrainState(model, optimizer, epoch=epoch)
        LocalStore(folder, keep=9).save(state.checkpoint(tiny_config()), {})
    return folder


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """A function that tells Train which checkpoint it knows."""

    def know(path: str | None) -> None:
        monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint(path) if path else None)

    know(None)
    return know


def run_with(folder: RunFolder, trained: Path, epochs: tuple[int, ...], cut: tuple[int, ...] = (), recorded: int = 0):
    """Copies checkpoints into a run, cuts some, and writes the metrics of epochs."""
    for epoch in epochs:
        path = f"checkpoints/epoch_{epoch:04d}/state.pt"
        content = (trained / path).read_bytes()
        folder.write(path, content[:5000] if epoch in cut else content)
    lines = [json.dumps({"epoch": float(epoch), "stage": 1.0}) + "\n" for epoch in range(recorded + 1)]
    folder.write("metrics.jsonl", "".join(lines).encode())
    return RayStore(folder, asynchronous=True)


@pytest.fixture(params=["{path}", "memory://checkpoints"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    found = RunFolder(request.param.format(path=tmp_path), tmp_path.name)
    assert found.checkpoint_names() == []
    return found


def test_the_newest_that_train_knows_is_loaded(folder: RunFolder, trained: Path, known: Callable[..., None]):
    store = run_with(folder, trained, (1, 2, 3), recorded=3)
    known(f"{folder.path}/checkpoints/epoch_0002")  # the third was still being uploaded
    assert (store.load() or {})["epoch"] == 2
    known(None)
    assert (store.load() or {})["epoch"] == 3


def test_one_that_was_cut_gives_way_to_the_one_before_with_a_warning(
    folder: RunFolder, trained: Path, known: Callable[..., None]
):
    store = run_with(folder, trained, (1, 2, 3), cut=(2, 3), recorded=3)
    assert (store.load() or {})["epoch"] == 1
    told = (folder.read("events.jsonl") or b"").decode().splitlines()
    assert [json.loads(line)["event"] for line in told] == ["warning", "warning"]


def test_unreadable_checkpoints_never_mean_a_silent_fresh_start(
    folder: RunFolder, trained: Path, known: Callable[..., None]
):
    store = run_with(folder, trained, (2, 3), cut=(2, 3), recorded=3)
    with pytest.raises(CheckpointError, match="none of the checkpoints epoch_0002, epoch_0003 in"):
        store.load()


@pytest.mark.parametrize("epochs", [(), (1,)])
def test_a_run_that_never_had_a_complete_one_begins_anew_and_says_so(
    epochs: tuple[int, ...], folder: RunFolder, trained: Path, known: Callable[..., None]
):
    store = run_with(folder, trained, epochs, cut=(1,), recorded=2)
    assert store.load() is None
    assert "the 2 recorded epochs are trained again" in (folder.read("events.jsonl") or b"").decode()


def test_a_new_run_has_nothing_to_load(tmp_path: Path, known: Callable[..., None]):
    assert RayStore(RunFolder(str(tmp_path), "run"), asynchronous=True).load() is None
