import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ecul.config import Config
from ecul.console import interrupt_on_sigterm
from ecul.engine.checkpoints import LocalStore, find_checkpoint, network_of, open_run, read_checkpoint
from ecul.engine.state import TrainState
from ecul.errors import CheckpointError
from ecul.models.backbone import build_model


def checkpoint(epoch: int) -> dict[str, object]:
    keys = ("config", "model", "optimizer", "labels")
    return dict.fromkeys(keys, None) | {
        "format": 1, "epoch": epoch, "random_state": torch.zeros(2000), "fallbacks": 0,
    }  # fmt: skip


def test_the_newest_of_the_kept_checkpoints_is_loaded(tmp_path: Path):
    store = LocalStore(tmp_path, keep=2)
    assert store.load() is None
    for epoch in (1, 2, 3):
        store.save(checkpoint(epoch), {})
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["epoch_0002", "epoch_0003"]
    assert (store.load() or {})["epoch"] == 3
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoints" / "epoch_0003" / "state.pt"


def test_a_truncated_checkpoint_is_refused_and_the_previous_one_used_only_if_asked(tmp_path: Path):
    store = LocalStore(tmp_path)
    for epoch in (1, 2):
        store.save(checkpoint(epoch), {})
    newest = find_checkpoint(tmp_path)
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"epoch_0002/state.pt is truncated.*--use-previous"):
        store.load()
    assert (LocalStore(tmp_path, use_previous=True).load() or {})["epoch"] == 1


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2]])
def test_foreign_files_are_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not an ecul training checkpoint"):
        read_checkpoint(tmp_path / "foreign.pt")


def test_other_formats_and_missing_files_are_named(tmp_path: Path):
    torch.save(checkpoint(1) | {"format": 99}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="format 99"):
        read_checkpoint(tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_checkpoint(tmp_path / "gone.pt")
    with pytest.raises(CheckpointError, match="neither a checkpoint nor a run directory"):
        find_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path):
    store = LocalStore(tmp_path)
    store.save(checkpoint(1), {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="make room"):
            store.save(checkpoint(2), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch_0001"]
    assert (store.load() or {})["epoch"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_the_checkpoint_is_written(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save = torch.save
    before = signal.getsignal(signal.SIGTERM)
    interrupt_on_sigterm()

    def interrupted(*arguments: object) -> None:
        signal.raise_signal(number)
        save(*arguments)

    monkeypatch.setattr(torch, "save", interrupted)
    store = LocalStore(tmp_path)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.save(checkpoint(1), {})
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (store.load() or {})["epoch"] == 1


def test_a_run_whose_newest_checkpoint_was_cut_is_opened_at_the_one_before(
    tiny_config: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    model = build_model("small")
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in (1, 2):
        LocalStore(tmp_path).save(TrainState(model, optimizer, epoch=epoch).checkpoint(tiny_config()), {})
    newest = find_checkpoint(tmp_path)
    newest.write_bytes(newest.read_bytes()[:5000])
    assert open_run(tmp_path)[1]["epoch"] == 1
    assert "epoch_0002" in caplog.text
    with pytest.raises(CheckpointError, match="truncated"):
        open_run(newest)


def test_a_run_is_opened_with_its_configuration_and_network(tiny_config: Callable[..., Config], tmp_path: Path):
    config = tiny_config()
    model = build_model("small")
    state = TrainState(model, torch.optim.Adam(model.parameters()), epoch=2)
    LocalStore(tmp_path).save(state.checkpoint(config), {})
    opened, checkpoint = open_run(tmp_path)
    assert (opened, checkpoint["epoch"]) == (config, 2)
    assert open_run(find_checkpoint(tmp_path))[0] == config
    network = network_of(opened, checkpoint).state_dict()
    assert all(torch.equal(value, network[name]) for name, value in model.state_dict().items())
    LocalStore(tmp_path).save(state.checkpoint(config) | {"epoch": 3}, {})
    newest = find_checkpoint(tmp_path)
    newest.write_bytes(newest.read_bytes()[:1000])  # as of a run that was killed while it uploaded
    assert open_run(tmp_path)[1]["epoch"] == 2
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"epoch_0003/state.pt is truncated"):
        open_run(tmp_path)
    other = tiny_config({"model.backbone": "agw_resnet50"})
    with pytest.raises(CheckpointError, match="does not fit the configured network"):
        network_of(other, checkpoint)


def test_each_nth_checkpoint_stays_for_good_and_a_repeated_epoch_replaces_its_own(tmp_path: Path):
    store = LocalStore(tmp_path, keep=1, keep_every=2)
    for epoch in (1, 2, 3, 4, 5):
        store.save(checkpoint(epoch), {})
    kept = [tmp_path / "kept" / f"epoch_000{epoch}" / "state.pt" for epoch in (2, 4)]
    assert sorted((tmp_path / "kept").rglob("*.*")) == kept
    assert [read_checkpoint(path)["epoch"] for path in kept] == [2, 4]
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoints" / "epoch_0005" / "state.pt"
    store.save(checkpoint(4) | {"fallbacks": 7}, {})
    assert read_checkpoint(kept[1])["fallbacks"] == 7
