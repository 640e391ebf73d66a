"""The step where a wrong factor would be a wrong method: batch-global loss, and memories equal on all ranks."""

import subprocess
import sys
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecul import runtime
from ecul.config import LossConfig
from ecul.engine.loss import _Side, bootstrap_loss, compute_loss
from ecul.engine.memories import Memories, StepBatch, UpdateRules, update_memories
from ecul.engine.step import FiniteWatch
from ecul.errors import TrainingError
from ecul.losses.contrastive import instance_contrast
from ecul.memory.update import update_memory
from tests.ecul.engine import ranks

NEAR, FAR = log(1 + exp(-1)), log(1 + exp(1))  # -log softmax of the right one of two orthogonal rows, temperature 1
E1, E2 = [1.0, 0.0], [0.0, 1.0]
MEAN = UpdateRules(intra=("mean", 0.2), united=("mean", 0.2), instances=("mean", 0.2))


def joined(*images: torch.Tensor) -> torch.Tensor:
    """A network whose embeddings are its images."""
    return torch.cat(images)


def four_images(**changes: Any) -> Memories:
    """Images 0 and 1 are visible, 2 and 3 infrared; image 1 is noise; rows of each memory are e1 and e2."""
    rows = torch.tensor([E1, E2])
    values: dict[str, Any] = {
        "visible": rows,
        "infrared": rows,
        "united": None,
        "instances": None,
        "positives": None,
        "modality": torch.tensor([0, 0, 1, 1]),
        "intra_label": torch.tensor([0, -1, 0, 1]),
        "united_label": torch.tensor([-1, -1, -1, -1]),
        "rules": MEAN,
    }
    return Memories(**(values | changes))


def whole_batch(*views: list[list[float]]) -> StepBatch:
    """Both views of images 0 and 1, then images 2 and 3."""
    first, second, infrared = (torch.tensor(view) for view in views)
    return StepBatch(
        visible=torch.cat([first, second]),
        infrared=infrared,
        visible_positions=np.array([0, 1]),
        infrared_positions=np.array([2, 3]),
        part=slice(0, 2),
    )


def test_the_intra_terms_are_means_over_the_images_that_have_a_label():
    batch = whole_batch([E1, E2], [E2, E2], [E1, E1])
    loss, terms, embeddings = compute_loss(joined, batch, four_images(), LossConfig(temperature=1))
    assert terms["intra_visible"].item() == pytest.approx((NEAR + FAR) / 2)  # image 0, one view near and one far
    assert terms["intra_infrared"].item() == pytest.approx((NEAR + FAR) / 2)  # image 2 near, image 3 far
    assert set(terms) == {"intra_visible", "intra_infrared", "total"}
    assert loss.item() == pytest.approx(NEAR + FAR)
    assert embeddings.tolist() == [E1, E2, E2, E2, E1, E1]


def test_the_united_terms_are_weighted():
    memories = four_images(united=torch.tensor([E1, E2]), united_label=torch.tensor([0, -1, 1, -1]))
    batch = whole_batch([E1, E2], [E2, E2], [E1, E1])
    loss, terms, _ = compute_loss(joined, batch, memories, LossConfig(temperature=1, united_weight=0.25))
    assert terms["united_visible"].item() == pytest.approx((NEAR + FAR) / 2)
    assert terms["united_infrared"].item() == pytest.approx(FAR)
    assert loss.item() == pytest.approx(NEAR + FAR + 0.25 * ((NEAR + FAR) / 2 + FAR))


def test_the_instance_terms_are_means_over_the_images_with_selected_ones():
    memories = four_images(
        united=torch.tensor([E1, E2]),
        united_label=torch.tensor([0, 0, 1, 1]),
        instances=torch.tensor([E1, E1, E2, E1]),
        positives=torch.tensor([[2], [-1], [0], [-1]]),
    )
    batch = whole_batch([E1, E2], [E2, E2], [E2, E1])
    config = LossConfig(temperature=1, instance_weight=0.5, num_negatives=1)
    loss, terms, _ = compute_loss(joined, batch, memories, config)
    alone = instance_contrast(
        torch.tensor([E1, E2]),  # both views of image 0
        memories.instances,
        memories.positives[[0, 0]],
        memories.modality,
        memories.modality[[0, 0]],
        memories.united_label,
        memories.united_label[[0, 0]],
        temperature=1.0,
        num_negatives=1,
    )
    assert terms["instance_visible"].item() == pytest.approx(alone.mean().item())
    rest = sum(terms[f"{kind}_{side}"].item() for kind in ("intra", "united") for side in ("visible", "infrared"))
    both = terms["instance_visible"].item() + terms["instance_infrared"].item()
    assert loss.item() == pytest.approx(rest + 0.5 * both)


def test_where_nothing_counts_a_term_is_zero_and_moves_nothing():
    visible = torch.tensor([E1, E1, E1, E1], requires_grad=True)
    batch = StepBatch(visible, torch.tensor([E1, E1]), np.array([0, 1]), np.array([2, 3]), slice(0, 2))
    memories = four_images(intra_label=torch.tensor([-1, -1, 0, 0]))
    loss, terms, _ = compute_loss(joined, batch, memories, LossConfig(temperature=1))
    loss.backward()
    assert terms["intra_visible"] == 0
    assert visible.grad is not None
    assert not visible.grad.any()


@pytest.mark.parametrize("num_views", [1, 2])
def test_the_ranks_average_is_the_mean_over_the_global_batch(monkeypatch: pytest.MonkeyPatch, num_views: int):
    counted = torch.tensor([True, True, True, False, False, True, False])
    positions = torch.tensor([0, 1, 2, 3, 4, 6])  # three images count, all of them on the first rank
    values = torch.arange(1.0, 6 * num_views + 1).view(num_views, 6)
    expected = values[:, :3].mean()

    def of_rank(rank: int, world_size: int) -> torch.Tensor:
        monkeypatch.setattr(runtime, "world_size", lambda: world_size)
        part = slice(rank * 6 // world_size, (rank + 1) * 6 // world_size)
        side = _Side(torch.empty(0), positions[part].repeat(num_views), positions)
        return side.mean(values[:, part].flatten(), counted)

    assert of_rank(0, 1) == pytest.approx(expected)
    for world_size in (2, 3):
        contributions = [of_rank(rank, world_size).item() for rank in range(world_size)]
        assert np.mean(contributions) == pytest.approx(expected.item())


def test_stage_0_adds_up_the_two_modalities():
    generator = torch.Generator().manual_seed(0)
    visible, infrared = torch.nn.functional.normalize(torch.randn(2, 4, 2, generator=generator), dim=2)
    batch = StepBatch(visible, infrared, np.array([0, 1]), np.array([2, 3]), slice(0, 2))
    loss, terms, _ = bootstrap_loss(joined, batch, temperature=0.5)
    assert loss == terms["bootstrap_visible"] + terms["bootstrap_infrared"] == terms["total"]
    swapped = StepBatch(infrared, visible, np.array([0, 1]), np.array([2, 3]), slice(0, 2))
    assert bootstrap_loss(joined, swapped, temperature=0.5)[1]["bootstrap_infrared"] == terms["bootstrap_visible"]


def test_memories_move_by_the_whole_batch():
    memories = four_images(
        united=torch.tensor([E1, E1]),
        united_label=torch.tensor([0, -1, 0, 1]),
        instances=torch.tensor([E1, E1, E1, E1]),
        positives=torch.tensor([[2], [-1], [0], [-1]]),
        intra_label=torch.tensor([0, -1, 0, -1]),
    )
    embeddings = torch.tensor([E1, E2, E2, E2, E2, E1])  # two views of images 0 and 1, then images 2 and 3
    before = four_images().visible[1].clone()
    update_memories(memories, embeddings, whole_batch([E1] * 2, [E1] * 2, [E1] * 2), key=(0,))

    def unit(x: float, y: float) -> Any:
        return pytest.approx([x / np.hypot(x, y), y / np.hypot(x, y)])

    assert memories.visible[0].tolist() == unit(0.2 + 0.8 / 2, 0.8 / 2)  # the mean of image 0's views
    assert torch.equal(memories.visible[1], before)
    assert memories.infrared[0].tolist() == unit(0.2, 0.8)
    assert memories.united is not None
    # The mean of the modality means: (e1 + e2) / 2 of image 0 and e2 of image 2.
    assert memories.united[0].tolist() == unit(0.2 + 0.8 / 4, 0.8 * 3 / 4)
    assert memories.united[1].tolist() == E1
    assert memories.instances is not None
    assert memories.instances[0].tolist() == unit(0.2 + 0.8 / 2, 0.8 / 2)
    assert memories.instances[1:].tolist() == [unit(0.2, 0.8), unit(0.2, 0.8), pytest.approx(E1)]


def two_batches() -> StepBatch:
    """A batch of images 0 to 3, and a second one of the same images with other embeddings."""
    first = whole_batch([E1, E2], [E2, E2], [E1, E1])
    return replace(first, united=whole_batch([E2, E2], [E2, E1], [E2, E1]))


def test_a_second_batch_is_for_the_united_terms_alone():
    memories = four_images(
        united=torch.tensor([E1, E2]),
        united_label=torch.tensor([0, -1, 1, -1]),
        instances=torch.tensor([E1, E1, E2, E1]),
        positives=torch.tensor([[2], [-1], [0], [-1]]),
        bank_intra=True,
        bank_united=True,
    )
    config = LossConfig.model_validate(
        {"temperature": 1, "num_negatives": 1, "bank": {"intra_weight": 1, "united_weight": 1}}
    )
    _, terms, embeddings = compute_loss(joined, two_batches(), memories, config)
    first, second = (compute_loss(joined, part, memories, config)[1] for part in two_batches().parts)
    assert set(terms) == set(first)
    for name, value in terms.items():
        if name != "total":
            assert value == (first if "intra" in name else second)[name]
    assert embeddings.tolist() == [E1, E2, E2, E2, E1, E1, E2, E2, E2, E1, E2, E1]


def test_each_memory_moves_by_its_own_batch_and_the_instances_by_both():
    same = {"united_label": torch.tensor([0, -1, 0, 1]), "intra_label": torch.tensor([0, -1, 0, 1])}
    rows = torch.tensor([E1, E1])
    rules = UpdateRules(intra=("mean", 0.0), united=("mean", 0.0), instances=("instance", 0.0))
    memories = four_images(
        visible=rows, infrared=rows, united=rows, instances=torch.eye(2)[[0] * 4], rules=rules, **same
    )
    embeddings = torch.tensor([*[E2, E1] * 3, *[E1, E2] * 3])
    update_memories(memories, embeddings, two_batches(), key=(0,))
    assert (memories.visible[0].tolist(), memories.infrared.tolist()) == (E2, [E2, E1])
    assert memories.united is not None
    assert memories.united.tolist() == [E1, E2]
    assert memories.instances is not None
    assert memories.instances.tolist() == [E1, E2, E1, E2]  # without momentum the second batch has the last word


def test_terms_against_all_instances_are_means_over_all_images():
    memories = four_images(
        united=torch.tensor([E1, E2]),
        united_label=torch.tensor([0, 0, 0, -1]),
        instances=torch.tensor([E1, E2, E1, E2]),
        bank_intra=True,
        bank_united=True,
    )
    config = LossConfig.model_validate(
        {"temperature": 1, "united_weight": 0.5, "bank": {"intra_weight": 0.25, "united_weight": 0.125}}
    )
    loss, terms, _ = compute_loss(joined, whole_batch([E1, E2], [E1, E2], [E1, E1]), memories, config)
    # inside a modality each image is alone: its own row against that of the other image
    assert terms["bank_intra_visible"].item() == pytest.approx(NEAR, abs=1e-5)
    assert terms["bank_intra_infrared"].item() == pytest.approx((NEAR + FAR) / 2, abs=1e-5)
    e, below = exp(1), 2 * exp(1) + 2
    visible = (-log((2 * e + 1) / below) - log((2 + e) / below)) / 2  # rows 0, 1 and 2 are of one cluster
    assert terms["bank_united_visible"].item() == pytest.approx(visible, abs=1e-5)
    assert terms["bank_united_infrared"].item() == pytest.approx(
        (-log((2 * e + 1) / below) - log(1 / below)) / 2, abs=1e-5
    )
    weights = {"intra": 1, "united": 0.5, "bank_intra": 0.25, "bank_united": 0.125}
    sides = ("visible", "infrared")
    expected = sum(weight * terms[f"{kind}_{side}"].item() for kind, weight in weights.items() for side in sides)
    assert loss.item() == pytest.approx(expected)


def test_the_instance_memory_moves_in_the_batch_s_rows_as_it_would_as_a_whole(monkeypatch: pytest.MonkeyPatch):
    memories, batch = ranks.memories("mean"), ranks.batch(1, slice(0, ranks.BATCH))
    generator = torch.Generator().manual_seed(2)
    embeddings = ranks.unit(3 * ranks.BATCH, generator)
    positions = torch.from_numpy(np.concatenate([np.tile(batch.visible_positions, 2), batch.infrared_positions]))
    assert memories.instances is not None
    rule, momentum = memories.rules.instances
    options: Any = {"rule": rule, "momentum": momentum, "generator": torch.Generator()}
    whole = update_memory(memories.instances, embeddings, positions, **options)
    moved: list[int] = []

    def counting(memory: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        moved.append(len(memory))
        return update_memory(memory, *rest, **options)

    monkeypatch.setattr("ecul.engine.memories.update_memory", counting)
    update_memories(memories, embeddings, batch, key=(0,))
    assert torch.equal(memories.instances, whole)
    assert moved[-1] == 2 * ranks.BATCH < len(whole)  # rows of the batch, not of the data set


def test_two_ranks_compute_what_one_computes(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "tests.ecul.engine.ranks",
        "1",
        "2",
        str(tmp_path / "store"),
        str(tmp_path / "1.pt"),
    ]
    other = subprocess.Popen(command, cwd=Path(__file__).parents[3])
    first = ranks.as_rank(0, 2, str(tmp_path / "store"))
    assert other.wait(100) == 0
    second = torch.load(tmp_path / "1.pt")
    for name, computed in first.items():
        torch.testing.assert_close(computed, second[name], rtol=0, atol=0)
    for rule in ranks.RULES:
        torch.testing.assert_close(first[rule], ranks.train(rule), rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_the_training():
    watch = FiniteWatch(epoch=3)
    watch.check(torch.tensor(1.0), 1)
    with pytest.raises(TrainingError, match=r"epoch 3, step 2: the loss is nan"):
        watch.check(torch.tensor(float("nan")), 2)
    watch.finish()
