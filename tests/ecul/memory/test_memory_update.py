import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.memory.update import RULES, update_memory

GOLDEN = Path(__file__).parents[2] / "golden" / "memory.npz"
LINEAGE = GOLDEN.with_name("lineage.npz")


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_problem(seed, *, num_rows=6, num_inputs=20, dim=8):
    source = generator(seed)
    memory = torch.nn.functional.normalize(torch.randn(num_rows, dim, generator=source), dim=1)
    inputs = torch.nn.functional.normalize(torch.randn(num_inputs, dim, generator=source), dim=1)
    labels = torch.randint(-1, num_rows - 2, (num_inputs,), generator=source)
    modality = torch.randint(0, 2, (num_inputs,), generator=source)
    return memory, inputs, labels, modality


def literal_update(memory, inputs, labels, modality, *, rule, momentum):
    """One cluster after the other, as the rules read."""
    memory = memory.clone()
    for row in range(len(memory)):
        members = inputs[labels == row]
        if len(members) == 0:
            continue
        if rule == "hard":
            queue = [members[int(torch.argmin(members @ memory[row]))]]
        elif rule == "instance":
            queue = list(members)
        elif modality is None:
            queue = [members.mean(dim=0)]
        else:
            which = modality[labels == row]
            queue = [torch.stack([members[which == m].mean(dim=0) for m in which.unique()]).mean(dim=0)]
        for incoming in queue:
            memory[row] = momentum * memory[row] + (1 - momentum) * incoming
            memory[row] /= memory[row].norm()
    return memory


@pytest.mark.parametrize("momentum", ["0.1", "0.5"])
@pytest.mark.parametrize("rule", ["instance", "hard"])
def test_public_rules_are_reproduced(rule, momentum):
    golden = {name: torch.from_numpy(array) for name, array in np.load(GOLDEN).items()}
    memory, inputs, targets = golden["memory"], golden["inputs"], golden["targets"]
    got = update_memory(memory, inputs, targets, rule=rule, momentum=float(momentum), generator=generator())
    torch.testing.assert_close(got, golden[f"{rule}_m{momentum}_memory"], atol=1e-6, rtol=0)


def test_the_public_cluster_memory_and_instance_memory_are_reproduced():
    golden = {name: torch.from_numpy(array) for name, array in np.load(LINEAGE).items()}

    def moved(memory, kind, to, momentum):
        inputs = torch.nn.functional.normalize(golden[f"{kind}_inputs"], dim=1)
        return update_memory(memory, inputs, to, rule="instance", momentum=momentum, generator=generator())

    got = moved(golden["cluster_memory"], "cluster", golden["cluster_targets"], float(golden["cluster_momentum"]))
    torch.testing.assert_close(got, golden["cluster_memory_after"], atol=1e-6, rtol=0)
    got = moved(golden["instance_bank"], "instance", golden["instance_index"], 0.0)
    torch.testing.assert_close(got, golden["instance_bank_after"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", ["random", "hard", "mean", "instance"])
def test_without_momentum_a_row_forgets_what_it_was(rule):
    memory, inputs, labels, _ = random_problem(4)
    turned = {"rule": rule, "momentum": 0.0, "generator": generator(1)}
    present = labels.unique()[1:]
    got = update_memory(memory, inputs, labels, **turned)
    torch.testing.assert_close(got.norm(dim=1), torch.ones(len(memory)))
    if rule != "hard":  # which looks at the old row to choose
        other = update_memory(-memory, inputs, labels, **(turned | {"generator": generator(1)}))
        assert torch.equal(got[present], other[present])
    if rule == "instance":
        last = [int(torch.nonzero(labels == row)[-1]) for row in present]
        torch.testing.assert_close(got[present], inputs[last])


def test_mean_moves_the_row_to_the_middle_of_old_and_new():
    got = update_memory(
        unit(0, 100), unit(80, 100, 5), torch.tensor([0, 0, -1]), rule="mean", momentum=0.0, generator=generator()
    )
    torch.testing.assert_close(got, unit(90, 100))


def test_mean_with_modality_weighs_both_modalities_the_same():
    inputs, modality = unit(0, 0, 0, 90), torch.tensor([0, 0, 0, 1])
    got = update_memory(
        unit(10),
        inputs,
        torch.zeros(4, dtype=torch.long),
        rule="mean",
        momentum=0.0,
        generator=generator(),
        modality=modality,
    )
    torch.testing.assert_close(got, unit(45))


def test_hard_takes_the_instance_farthest_from_the_row():
    got = update_memory(
        unit(0), unit(10, 70, 30), torch.zeros(3, dtype=torch.long), rule="hard", momentum=0.0, generator=generator()
    )
    torch.testing.assert_close(got, unit(70))


def test_random_takes_one_instance_and_reaches_all_of_them():
    inputs = unit(10, 70, 30)
    seen = set()
    for seed in range(40):
        got = update_memory(
            unit(0),
            inputs,
            torch.zeros(3, dtype=torch.long),
            rule="random",
            momentum=0.0,
            generator=generator(seed),
        )
        match = [i for i in range(3) if torch.allclose(got[0], inputs[i])]
        assert len(match) == 1
        seen.add(match[0])
    assert seen == {0, 1, 2}


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), momentum=st.floats(0.0, 0.95))
@pytest.mark.parametrize(
    ("rule", "by_modality"), [("hard", False), ("instance", False), ("mean", False), ("mean", True)]
)
def test_rules_equal_a_literal_loop(rule, by_modality, seed, momentum):
    memory, inputs, labels, modality = random_problem(seed)
    modality = modality if by_modality else None
    got = update_memory(memory, inputs, labels, rule=rule, momentum=momentum, generator=generator(), modality=modality)
    expected = literal_update(memory, inputs, labels, modality, rule=rule, momentum=momentum)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("rule", RULES)
def test_untouched_rows_keep_their_bits_and_rows_stay_unit(rule, seed):
    memory, inputs, labels, modality = random_problem(seed)
    before = memory.clone()
    got = update_memory(memory, inputs, labels, rule=rule, momentum=0.2, generator=generator(seed), modality=modality)
    absent = [row for row in range(len(memory)) if row not in labels.tolist()]
    assert absent
    assert torch.equal(got[absent], memory[absent])
    assert torch.equal(memory, before)
    assert got.data_ptr() != memory.data_ptr()
    torch.testing.assert_close(got.norm(dim=1), torch.ones(len(memory)))


@pytest.mark.parametrize("rule", RULES)
def test_equal_generators_give_equal_bits(rule):
    memory, inputs, labels, modality = random_problem(3)
    first, second = (
        update_memory(memory, inputs, labels, rule=rule, momentum=0.1, generator=generator(5), modality=modality)
        for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("rule", ["hard", "instance", "mean"])
def test_only_random_draws_from_the_generator(rule):
    source = generator(9)
    state = source.get_state()
    memory, inputs, labels, _ = random_problem(3)
    update_memory(memory, inputs, labels, rule=rule, momentum=0.1, generator=source)
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_of_noise_or_an_empty_memory_changes_nothing(rule):
    memory, inputs, _, _ = random_problem(3)
    noise = torch.full((len(inputs),), -1)
    assert torch.equal(update_memory(memory, inputs, noise, rule=rule, momentum=0.1, generator=generator()), memory)
    assert update_memory(memory[:0], inputs, noise, rule=rule, momentum=0.1, generator=generator()).shape == (0, 8)


def test_no_gradient_reaches_the_embeddings():
    memory, inputs, labels, _ = random_problem(3)
    got = update_memory(memory, inputs.requires_grad_(), labels, rule="mean", momentum=0.1, generator=generator())
    assert not got.requires_grad


def test_a_row_and_its_opposite_keep_the_row():
    got = update_memory(unit(0), -unit(0), torch.tensor([0]), rule="mean", momentum=0.5, generator=generator())
    assert torch.equal(got, unit(0))


def test_unknown_rule_and_momentum_are_refused():
    memory, inputs, labels, _ = random_problem(3)
    with pytest.raises(ValueError, match=f"'median' is unknown, expected one of {', '.join(RULES)}"):
        update_memory(memory, inputs, labels, rule="median", momentum=0.1, generator=generator())
    with pytest.raises(ValueError, match=r"momentum is 1\.5"):
        update_memory(memory, inputs, labels, rule="mean", momentum=1.5, generator=generator())
