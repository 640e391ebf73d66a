import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.memory.centroids import cluster_means, random_members, united_means


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def random_problem(seed, *, num_images=40, num_clusters=5, dim=8):
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(num_images, dim, generator=generator), dim=1)
    labels = torch.randint(-1, num_clusters, (num_images,), generator=generator)
    labels[:num_clusters] = torch.arange(num_clusters)
    modality = torch.randint(0, 2, (num_images,), generator=generator)
    return features, labels, modality


def test_the_mean_of_two_directions_lies_between_them_and_noise_is_ignored():
    means = cluster_means(unit(0, 90, 200, 10), torch.tensor([0, 0, -1, 1]), num_clusters=2)
    torch.testing.assert_close(means, unit(45, 10))


def test_both_modalities_weigh_the_same_whatever_their_sizes():
    features = unit(0, 0, 0, 90, 30)
    labels = torch.tensor([0, 0, 0, 0, 1])
    means = united_means(features, labels, torch.tensor([0, 0, 0, 1, 1]), num_clusters=2)
    torch.testing.assert_close(means, unit(45, 30))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_means_equal_a_literal_loop_and_are_unit_rows(seed):
    features, labels, modality = random_problem(seed)
    plain, united = [], []
    for cluster in range(5):
        rows = features[labels == cluster]
        which = modality[labels == cluster]
        plain.append(rows.mean(dim=0))
        united.append(torch.stack([rows[which == m].mean(dim=0) for m in (0, 1) if (which == m).any()]).mean(dim=0))
    expected_plain = torch.nn.functional.normalize(torch.stack(plain), dim=1)
    expected_united = torch.nn.functional.normalize(torch.stack(united), dim=1)
    got_plain = cluster_means(features, labels, num_clusters=5)
    got_united = united_means(features, labels, modality, num_clusters=5)
    torch.testing.assert_close(got_plain, expected_plain)
    torch.testing.assert_close(got_united, expected_united)
    torch.testing.assert_close(got_united.norm(dim=1), torch.ones(5))


def test_int32_labels_and_modality_are_accepted():
    features, labels, modality = random_problem(1)
    assert torch.equal(
        united_means(features, labels.int(), modality.int(), num_clusters=5),
        united_means(features, labels, modality, num_clusters=5),
    )


def test_no_cluster_gives_an_empty_memory():
    noise = torch.full((3,), -1)
    assert cluster_means(unit(0, 1, 2), noise, num_clusters=0).shape == (0, 2)
    assert united_means(unit(0, 1, 2), noise, torch.tensor([0, 1, 1]), num_clusters=0).shape == (0, 2)


@pytest.mark.parametrize("labels", [[0, 3], [-2, 0]])
def test_labels_outside_the_range_are_named(labels):
    with pytest.raises(ValueError, match=r"expected -1\.\.1"):
        cluster_means(unit(0, 1), torch.tensor(labels), num_clusters=2)


def test_a_cluster_without_an_image_is_named():
    with pytest.raises(ValueError, match="first: 1"):
        cluster_means(unit(0, 1), torch.tensor([0, 2]), num_clusters=3)


def test_a_random_member_is_a_member_and_each_is_drawn_some_time():
    features, labels = torch.eye(6), torch.tensor([1, 0, -1, 1, 0, 1])
    seen = set()
    for seed in range(60):
        generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
        rows, again = (random_members(features, labels, num_clusters=2, generator=source) for source in generators)
        assert torch.equal(rows, again)
        members = rows.argmax(dim=1)
        assert labels[members].tolist() == [0, 1]
        seen |= set(members.tolist())
    assert seen == {0, 1, 3, 4, 5}


def test_random_members_refuse_what_means_refuse():
    source = torch.Generator()
    assert random_members(unit(0), torch.tensor([-1]), num_clusters=0, generator=source).shape == (0, 2)
    with pytest.raises(ValueError, match="first: 1"):
        random_members(unit(0, 1), torch.tensor([0, 2]), num_clusters=3, generator=source)
    with pytest.raises(ValueError, match=r"expected -1\.\.0"):
        random_members(unit(0, 1), torch.tensor([0, 2]), num_clusters=1, generator=source)
