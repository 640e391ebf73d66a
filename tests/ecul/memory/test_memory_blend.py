import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.memory.blend import blend_memory

GOLDEN = Path(__file__).parents[2] / "golden" / "lineage.npz"


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def blend(memory, features, labels, *, threshold=0.5, weight=0.4, one_to_one=False):
    return blend_memory(
        memory,
        features,
        labels,
        num_clusters=int(labels.max()) + 1,
        threshold=threshold,
        weight=weight,
        one_to_one=one_to_one,
    )


@pytest.mark.parametrize(("own", "other"), [("visible", "infrared"), ("infrared", "visible")])
def test_the_public_code_is_reproduced_in_both_directions(own, other):
    golden = {name: torch.from_numpy(array) for name, array in np.load(GOLDEN).items()}
    features = golden["features"][golden["modality"] == ("visible", "infrared").index(other)]
    got, changed = blend(golden[f"blend_{own}_memory"], features, golden[f"blend_{other}_labels"])
    expected = golden[f"blend_{own}_after"]
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert changed == int((expected != golden[f"blend_{own}_memory"]).any(dim=1).sum())


def test_a_row_takes_in_the_mean_of_the_images_that_are_near_it():
    memory = unit(0, 90)
    # images at 30 and 50 degrees are near row 0 (similarity .87 and .64), the one at 80 degrees is near row 1 alone
    features, labels = unit(30, 50, 80, 45), torch.tensor([0, 0, 0, -1])
    got, changed = blend(memory, features, labels, threshold=0.6, weight=0.25)
    scores = [(math.cos(math.radians(30)) + math.cos(math.radians(50)) - 1.2) / 3]
    scores += [(math.cos(math.radians(40)) + math.cos(math.radians(10)) - 1.2) / 3]
    assert scores[1] > scores[0]
    torch.testing.assert_close(got[1], 0.25 * memory[1] + 0.75 * unit(50, 80).mean(dim=0))
    assert torch.equal(got[0], memory[0])
    assert changed == 1


def test_several_clusters_blend_into_one_row_in_their_order():
    got, changed = blend(unit(0, 180), unit(10, 20), torch.tensor([0, 1]), weight=0.5)
    torch.testing.assert_close(got[0], ((unit(0) + unit(10)) / 2 + unit(20))[0] / 2)
    assert changed == 1


def test_one_to_one_gives_each_cluster_a_row_of_its_own_with_the_largest_sum():
    # by themselves both clusters choose row 0; cluster 1 can do without it
    memory, features, labels = unit(0, 60), unit(-10, 20), torch.tensor([0, 1])
    alone, changed = blend(memory, features, labels, weight=0.0)
    assert changed == 1
    torch.testing.assert_close(alone[0], unit(20)[0])
    each, changed = blend(memory, features, labels, weight=0.0, one_to_one=True)
    torch.testing.assert_close(each, features)
    assert changed == 2


@pytest.mark.parametrize("one_to_one", [False, True])
@pytest.mark.parametrize(("rows", "clusters"), [(5, 3), (3, 5), (0, 3), (3, 0), (1, 4)])
def test_any_numbers_of_clusters_work(rows, clusters, one_to_one):
    generator = torch.Generator().manual_seed(0)
    memory, features = (
        torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=1) for n in (rows, 20)
    )
    labels = torch.arange(20) % (clusters + 1) - 1
    got, changed = blend(memory, features, labels, threshold=0.0, one_to_one=one_to_one)
    assert got.shape == memory.shape
    assert changed <= min(rows, clusters)
    assert int((got != memory).any(dim=1).sum()) == changed


def literal_blend(memory, features, labels, *, threshold, weight):
    """Cluster by cluster, as the formula reads."""
    after = memory.clone()
    for cluster in range(int(labels.max()) + 1):
        members = features[labels == cluster]
        similarity = members @ memory.T
        scores = (similarity - threshold).clamp(min=0).sum(dim=0) / max(len(members), 1)
        best = int(torch.argmax(scores))
        if float(scores[best]) > 0:
            near = members[similarity[:, best] >= threshold]
            after[best] = weight * after[best] + (1 - weight) * near.mean(dim=0)
    return after


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), threshold=st.floats(-0.5, 0.9), weight=st.floats(0, 0.9))
def test_blending_equals_a_literal_loop_and_leaves_its_input_alone(seed, threshold, weight):
    generator = torch.Generator().manual_seed(seed)
    memory, features = (
        torch.nn.functional.normalize(torch.randn(n, 4, generator=generator, dtype=torch.float64), dim=1)
        for n in (6, 30)
    )
    labels = torch.randint(-1, 8, (30,), generator=generator)
    before = memory.clone()
    got, _ = blend(memory, features, labels, threshold=threshold, weight=weight)
    torch.testing.assert_close(got, literal_blend(memory, features, labels, threshold=threshold, weight=weight))
    assert torch.equal(memory, before)
