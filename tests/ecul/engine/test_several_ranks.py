"""Running statistics over several processes: one set, of all ranks' images, the same after a restart."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ecul import runtime
from ecul.config import ModelConfig
from ecul.engine.batch_norm import average_batch_norm, batch_norm_kind
from tests.ecul.engine import epoch_ranks


@pytest.fixture(scope="module")
def two_ranks(tiny_sysu: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two ranks with local batch normalisation have after some epochs."""
    folder = tmp_path_factory.mktemp("ranks")
    arguments = ["1", "2", str(folder / "store"), str(tiny_sysu), str(folder / "1.pt")]
    command = [sys.executable, "-m", "tests.ecul.engine.epoch_ranks", *arguments]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as other:
        try:
            first = epoch_ranks.as_rank(0, 2, str(folder / "store"), str(tiny_sysu))
            assert other.wait(100) == 0
        finally:
            other.kill()
    return [first, torch.load(folder / "1.pt")]


def test_after_each_epoch_both_ranks_have_the_same_statistics_and_weights(two_ranks: list[dict[str, Any]]):
    first, second = two_ranks
    torch.testing.assert_close(first["undisturbed"], second["undisturbed"], rtol=0, atol=0)
    statistics = [name for name in first["undisturbed"][0] if "running" in name]
    assert statistics
    assert not torch.equal(*(first["undisturbed"][epoch][statistics[0]] for epoch in (0, 1)))  # they do move
    torch.testing.assert_close(first["embeddings"], second["embeddings"], rtol=0, atol=0)


def test_a_restart_ends_with_the_bits_of_a_run_without_one(two_ranks: list[dict[str, Any]]):
    for rank in two_ranks:
        torch.testing.assert_close(rank["restarted"], rank["undisturbed"][-1], rtol=0, atol=0)


def test_ranks_of_a_machine_decode_each_image_once_and_share_it(two_ranks: list[dict[str, Any]]):
    first, second = two_ranks
    assert torch.equal(first["images"], second["images"])
    num_images = len(first["images"])
    assert [rank["decoded"] for rank in two_ranks] == [2 * (num_images // 2)] * 2  # half of them, in two sessions


def test_an_image_that_one_rank_cannot_read_ends_them_all_with_its_name(two_ranks: list[dict[str, Any]]):
    assert [rank["broken"] for rank in two_ranks] == [
        "image gone.png is missing; `ecul doctor --open 0` finds all such files of a dataset"
    ] * 2


def test_statistics_of_all_ranks_are_those_of_all_images(monkeypatch: pytest.MonkeyPatch):
    halves = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0)) * 2 + torch.tensor([[[1.0]], [[5.0]]])
    layers = [nn.BatchNorm1d(3, momentum=1.0) for _ in halves]
    for layer, half in zip(layers, halves, strict=True):
        layer(half)
    of_ranks = [[layer.running_mean, layer.running_var] for layer in layers]
    answers = iter(torch.stack([rank[kind] for rank in of_ranks if rank[kind] is not None]) for kind in (0, 1))
    monkeypatch.setattr(runtime, "world_size", lambda: 2)
    monkeypatch.setattr(runtime, "gather_rows", lambda rows: next(answers))
    average_batch_norm(layers[0])
    whole = halves.flatten(0, 1)
    torch.testing.assert_close(layers[0].running_mean, whole.mean(dim=0))
    torch.testing.assert_close(layers[0].running_var, whole.var(dim=0), rtol=0.02, atol=0)  # unbiased within each half


@pytest.mark.parametrize(
    ("world_size", "device", "kind"), [(1, "cuda", "local"), (2, "cuda", "sync"), (2, "cpu", "local")]
)
def test_several_gpus_normalise_together_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, world_size: int, device: str, kind: str
):
    monkeypatch.setattr(runtime, "world_size", lambda: world_size)
    assert batch_norm_kind(ModelConfig(), torch.device(device)) == kind
    assert batch_norm_kind(ModelConfig(batch_norm="frozen"), torch.device(device)) == "frozen"
