import math
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from ecul.losses.contrastive import bank_contrast, cluster_contrast, instance_contrast, nt_xent

GOLDEN = Path(__file__).parents[2] / "golden" / "memory.npz"
LINEAGE = GOLDEN.with_name("lineage.npz")
TAU = 0.1


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def random_units(num, dim, seed):
    return normalize(torch.randn(num, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def instance_problem(seed, *, num_anchors=7, num_bank=24, dim=6, width=4):
    rng = np.random.default_rng(seed)
    bank_modality = rng.integers(0, 2, num_bank)
    anchor_modality = rng.integers(0, 2, num_anchors)
    positives = np.full((num_anchors, width), -1)
    for anchor in range(num_anchors):
        others = np.flatnonzero(bank_modality != anchor_modality[anchor])
        chosen = rng.choice(others, size=min(len(others), rng.integers(0, width + 1)), replace=False)
        positives[anchor, : len(chosen)] = chosen
    labels = rng.integers(-1, 4, num_bank), rng.integers(-1, 4, num_anchors)
    numbers = [torch.from_numpy(a) for a in (positives, bank_modality, anchor_modality, *labels)]
    return [random_units(num_anchors, dim, seed), random_units(num_bank, dim, seed + 1), *numbers]


def literal_instance_contrast(
    embeddings, bank, positives, bank_modality, anchor_modality, bank_label, anchor_label, *, temperature, num_negatives
):
    """Anchor by anchor, as the formula reads."""
    values = []
    for i in range(len(embeddings)):
        chosen = [int(p) for p in positives[i] if p >= 0]
        if not chosen:
            values.append(embeddings[i].sum() * 0)
            continue
        similarity = bank @ embeddings[i]
        hardness = similarity.detach()
        pool = [
            j
            for j in range(len(bank))
            if bank_modality[j] != anchor_modality[i]
            and j not in chosen
            and not (anchor_label[i] >= 0 and bank_label[j] == anchor_label[i])
        ]
        pool = sorted(pool, key=lambda j: -float(hardness[j]))[:num_negatives]
        below = torch.exp(similarity[chosen + pool] / temperature).sum()
        values.append(-torch.log(torch.exp(similarity[chosen] / temperature) / below).mean())
    return torch.stack(values)


def test_the_public_cluster_loss_and_gradient_are_reproduced():
    golden = {name: torch.from_numpy(array) for name, array in np.load(GOLDEN).items()}
    for rule in ("instance", "hard"):
        for momentum in ("0.1", "0.5"):
            inputs = golden["inputs"].clone().requires_grad_()
            loss = cluster_contrast(inputs, golden["memory"], golden["targets"], temperature=0.05).mean()
            loss.backward()
            torch.testing.assert_close(loss.detach(), golden[f"{rule}_m{momentum}_loss"], atol=2e-6, rtol=1e-6)
            torch.testing.assert_close(inputs.grad, golden[f"{rule}_m{momentum}_grad"], atol=1e-6, rtol=1e-5)


def test_cluster_contrast_by_hand():
    values = cluster_contrast(unit(0, 90, 0), unit(0, 90), torch.tensor([0, 0, -1]), temperature=0.5)
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(2)), 0.0]
    torch.testing.assert_close(values, torch.tensor(expected))


def test_noise_gets_no_gradient_and_the_memory_none_at_all():
    embeddings, memory = unit(0, 40, 80).requires_grad_(), unit(0, 90).requires_grad_()
    cluster_contrast(embeddings, memory, torch.tensor([0, -1, 1]), temperature=TAU).sum().backward()
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad[1], torch.zeros(2))
    assert embeddings.grad[0].abs().sum() > 0
    assert memory.grad is None


def test_an_empty_memory_or_bank_gives_zeros_that_still_allow_backward():
    embeddings = unit(0, 40).requires_grad_()
    labels, bank_label = torch.tensor([-1, -1]), torch.tensor([], dtype=torch.long)
    by_cluster = cluster_contrast(embeddings, unit()[:0].reshape(0, 2), labels, temperature=TAU)
    by_instance = instance_contrast(
        embeddings,
        torch.zeros(0, 2),
        torch.full((2, 3), -1),
        bank_label,
        torch.tensor([0, 1]),
        bank_label,
        labels,
        temperature=TAU,
        num_negatives=5,
    )
    assert torch.equal(by_cluster, torch.zeros(2))
    assert torch.equal(by_instance, torch.zeros(2))
    (by_cluster + by_instance).sum().backward()
    assert embeddings.grad is not None
    assert torch.equal(embeddings.grad, torch.zeros(2, 2))


def test_instance_contrast_by_hand():
    bank = unit(0, 60, 90, 20, 10)
    arguments = (
        torch.tensor([[1, -1], [-1, -1]]),  # positive: 60 degrees
        torch.tensor([0, 1, 1, 1, 1]),  # 0 degrees is of the anchor's own modality
        torch.tensor([0, 0]),
        torch.tensor([-1, -1, -1, -1, 3]),  # 10 degrees shares the anchor's united cluster
        torch.tensor([3, 3]),
    )
    values = instance_contrast(unit(0, 0), bank, *arguments, temperature=0.5, num_negatives=1)
    logit, hardest = math.cos(math.pi / 3) / 0.5, math.cos(math.radians(20)) / 0.5
    torch.testing.assert_close(values, torch.tensor([math.log(1 + math.exp(hardest - logit)), 0.0]))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), num_negatives=st.integers(0, 30))
def test_instance_contrast_equals_a_literal_loop_with_its_gradient(seed, num_negatives):
    embeddings, *rest = instance_problem(seed)
    results = []
    for function in (instance_contrast, literal_instance_contrast):
        leaf = embeddings.clone().requires_grad_()
        values = function(leaf, *rest, temperature=TAU, num_negatives=num_negatives)
        values.sum().backward()
        results.append((values.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1])
    assert torch.isfinite(results[0][1]).all()


def test_noise_shares_no_cluster_with_noise():
    arguments = [torch.tensor(a) for a in ([[0]], [1, 1], [0], [-1, -1], [-1])]
    values = instance_contrast(unit(0), unit(10, 20), *arguments, temperature=TAU, num_negatives=5)
    assert values[0] > 0.1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_losses_are_unmoved_by_batch_order_and_a_common_rotation(seed):
    embeddings, bank, positives, *rest = instance_problem(seed)
    bank_modality, anchor_modality, bank_label, anchor_label = rest
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    order = torch.randperm(len(embeddings))
    labels = anchor_label.clamp(max=3)
    second = random_units(len(embeddings), 6, seed + 2)

    def losses(rows, others, memory, index):
        return (
            cluster_contrast(rows[index], memory, labels[index], temperature=TAU),
            instance_contrast(
                rows[index],
                memory,
                positives[index],
                bank_modality,
                anchor_modality[index],
                bank_label,
                anchor_label[index],
                temperature=TAU,
                num_negatives=4,
            ),
            nt_xent(rows[index], others[index], temperature=TAU),
        )

    base = losses(embeddings, second, bank, torch.arange(len(embeddings)))
    turned = losses(embeddings @ rotation, second @ rotation, bank @ rotation, order)
    for before, after in zip(base, turned, strict=True):
        torch.testing.assert_close(before[order], after)


def test_nt_xent_equals_its_formula():
    first, second = random_units(5, 6, 0), random_units(5, 6, 1)
    views = torch.cat([first, second])
    expected = torch.zeros(5, dtype=torch.float64)
    for i in range(10):
        weights = torch.exp(views @ views[i] / TAU)
        expected[i % 5] -= torch.log(weights[(i + 5) % 10] / (weights.sum() - weights[i])) / 2
    torch.testing.assert_close(nt_xent(first, second, temperature=TAU), expected)


def test_nt_xent_of_one_image_is_zero():
    torch.testing.assert_close(nt_xent(unit(0), unit(50), temperature=TAU), torch.zeros(1))


def test_autocast_leaves_the_logits_in_single_precision():
    embeddings, memory = random_units(4, 64, 0).float(), random_units(9, 64, 1).float()
    labels = torch.tensor([0, 1, 2, 3])
    plain = cluster_contrast(embeddings, memory, labels, temperature=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cluster_contrast(embeddings, memory, labels, temperature=0.05), plain)


def test_the_public_losses_of_the_lineage_and_their_gradients_are_reproduced():
    golden = {name: torch.from_numpy(array) for name, array in np.load(LINEAGE).items()}
    inputs = golden["instance_inputs"].clone().requires_grad_()
    values = bank_contrast(
        normalize(inputs, dim=1),
        golden["instance_bank"],
        golden["instance_index"],
        golden["instance_labels"],
        torch.ones(len(golden["instance_bank"]), dtype=torch.bool),
        temperature=0.05,
    )
    values.mean().backward()
    torch.testing.assert_close(values.mean(), golden["instance_loss"], atol=2e-6, rtol=0)
    torch.testing.assert_close(inputs.grad, golden["instance_grad"], atol=1e-6, rtol=0)
    inputs = normalize(golden["cluster_inputs"], dim=1)
    values = cluster_contrast(inputs, golden["cluster_memory"], golden["cluster_targets"], temperature=0.05)
    torch.testing.assert_close(values.mean(), golden["cluster_loss"], atol=2e-6, rtol=0)


def test_bank_contrast_by_hand():
    bank, labels = unit(0, 0, 90, 180), torch.tensor([0, 0, -1, -1])
    everything = torch.ones(4, dtype=torch.bool)
    e, one = math.e, 1.0
    # the anchor of row 0 has two rows of its cluster, that of row 2 (noise) only its own; similarities 1, 1, 0, -1
    got = bank_contrast(unit(0, 0), bank, torch.tensor([0, 2]), labels, everything, temperature=1.0)
    below = 2 * e + one + 1 / e
    torch.testing.assert_close(got, -torch.log(torch.tensor([2 * e / below, one / below]) + 1e-6))
    # without rows 1 and 3
    among = torch.tensor([True, False, True, False])
    got = bank_contrast(unit(0, 0), bank, torch.tensor([0, 2]), labels, among, temperature=1.0)
    torch.testing.assert_close(got, -torch.log(torch.tensor([e, one]) / (e + one) + 1e-6))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.005, 0.05, 1.0]))
def test_bank_contrast_equals_a_literal_loop_with_its_gradient(seed, temperature):
    rng = np.random.default_rng(seed)
    bank, anchors = random_units(20, 5, seed), random_units(6, 5, seed + 1)
    labels, among = rng.integers(-1, 4, 20), rng.random(20) < 0.6
    index = rng.choice(20, 6)
    among[index] = True

    def literal(embeddings):
        values = []
        for row, at in zip(embeddings, index, strict=True):
            share = torch.softmax(bank[among] @ row / temperature, dim=0)
            own = (labels == labels[at]) & (labels[at] >= 0) | (np.arange(20) == at)
            values.append(-torch.log(share[torch.from_numpy(own[among])].sum() + 1e-6))
        return torch.stack(values)

    def mine(embeddings):
        numbers = (torch.from_numpy(array) for array in (index, labels, among))
        return bank_contrast(embeddings, bank, *numbers, temperature=temperature)

    results = []
    for function in (mine, literal):
        leaf = anchors.clone().requires_grad_()
        values = function(leaf)
        values.sum().backward()
        results.append((values, leaf.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-9, rtol=1e-6)


def test_bank_contrast_of_an_empty_bank_is_nothing_that_can_be_differentiated():
    leaf = unit(0).requires_grad_()
    none = torch.empty(0, dtype=torch.long)
    bank_contrast(
        leaf, unit()[:0].reshape(0, 2), torch.tensor([0]), none, none.bool(), temperature=1.0
    ).sum().backward()
    assert not leaf.grad.any()
