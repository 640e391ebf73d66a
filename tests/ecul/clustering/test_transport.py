"""Links by transport: by hand, against Sinkhorn in loops, what they must not depend on, and in an epoch."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.clustering.pipeline import cluster_epoch
from ecul.clustering.transport import joined_by_transport, mutual_share, transport_plan
from ecul.parameters import LinkParameters
from ecul.types import ClusteringParameters, ClusteringRequest, FeatureBank, SelectionParameters
from tests.ecul.clustering.small import angles

TRANSPORT = LinkParameters(method="transport")


def bank_of(degrees, modality):
    features = angles(*degrees) if not isinstance(degrees, np.ndarray) else degrees
    return FeatureBank(features, np.array(modality, np.int32), np.zeros(len(modality), np.int32))


def test_by_hand():
    # two visible clusters at 0 and 90 degrees, one infrared at 10, one infrared image alone (noise) at 90
    bank = bank_of([0, 0, 90, 90, 10, 10, 90], [0, 0, 0, 0, 1, 1, 1])
    intra = np.array([0, 0, 1, 1, 0, 0, -1], np.int32)
    # with one infrared cluster, each visible one gives it all of its mass, and takes half of it each
    shared = joined_by_transport(bank, intra, (2, 1), LinkParameters("transport", share=0.5))
    assert shared[0].tolist() == [0, 0, 0, 0, 0, 0, -1]
    apart, count = joined_by_transport(bank, intra, (2, 1), LinkParameters("transport", share=0.51))
    assert (apart.tolist(), count) == ([0, 0, 1, 1, 2, 2, -1], 3)
    # With a second infrared cluster the plan is 1/2, 0 / 1/6, 1/3: the sixth that the visible cluster at 90 has left is
    # a third of its mass, and a quarter of that of the infrared cluster at 10.
    intra[-1] = 1
    joined, count = joined_by_transport(bank, intra, (2, 2), LinkParameters("transport", share=0.26))
    assert (joined.tolist(), count) == ([0, 0, 1, 1, 0, 0, 1], 2)
    assert joined_by_transport(bank, intra, (2, 2), LinkParameters("transport", share=0.24))[1] == 1


def test_nothing_to_link_leaves_the_clusters_alone():
    bank = bank_of([0, 0, 90], [0, 0, 1])
    labels, count = joined_by_transport(bank, np.array([0, 0, -1], np.int32), (1, 0), TRANSPORT)
    assert (labels.tolist(), count) == ([0, 0, -1], 1)
    labels, count = joined_by_transport(bank, np.full(3, -1, np.int32), (0, 0), TRANSPORT)
    assert (labels.tolist(), count) == ([-1, -1, -1], 0)


def literal_plan(similarity, rows, columns, temperature):
    kernel = [[math.exp((value - 1) / temperature) for value in line] for line in similarity]
    left, right = [1.0] * len(rows), [0.0] * len(columns)
    for step in range(201):
        if step:
            left = [rows[a] / sum(k * r for k, r in zip(kernel[a], right, strict=True)) for a in range(len(rows))]
        right = [columns[b] / sum(kernel[a][b] * left[a] for a in range(len(rows))) for b in range(len(columns))]
    return [[left[a] * kernel[a][b] * right[b] for b in range(len(columns))] for a in range(len(rows))]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), temperature=st.sampled_from([0.01, 0.05, 1.0]))
def test_the_plan_equals_loops_and_moves_all_mass(seed, temperature):
    generator = np.random.default_rng(seed)
    similarity = generator.uniform(-1, 1, (4, 3))
    rows, columns = generator.dirichlet(np.full(4, 5.0)), generator.dirichlet(np.full(3, 5.0))
    plan = transport_plan(similarity, rows, columns, temperature=temperature)
    np.testing.assert_allclose(plan, literal_plan(similarity, rows, columns, temperature), rtol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=0), columns, rtol=1e-12)
    assert mutual_share(plan).max() <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_images_changes_no_cluster(seed):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(40, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    modality = np.repeat([0, 1], [24, 16]).astype(np.int32)
    intra = np.concatenate([np.arange(24) % 7 - 1, np.arange(16) % 5 - 1]).astype(np.int32)
    labels, count = joined_by_transport(bank_of(features, modality), intra, (6, 4), TRANSPORT)
    order = generator.permutation(40)
    moved = joined_by_transport(bank_of(features[order], modality[order]), intra[order], (6, 4), TRANSPORT)
    assert moved[1] == count
    np.testing.assert_array_equal(moved[0], labels[order])
    assert set(labels[labels >= 0]) == set(range(count))


def test_an_epoch_takes_them_in_place_of_the_united_clusters():
    generator = np.random.default_rng(0)
    people = generator.normal(size=(12, 16))
    gap = generator.normal(size=16)
    clear = (people[:, None] + np.stack([np.zeros(16), gap])).repeat(5, axis=1).reshape(120, 16)
    rows = clear + 0.1 * generator.normal(size=clear.shape)
    features = np.array(rows, np.float32) / np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    bank = bank_of(features, np.tile(np.repeat([0, 1], 5), 12))
    intra = ClusteringParameters("kreciprocal", 0.5, 2, k1=5, k2=2)
    united = ClusteringParameters("emcc", 0.5, 2, k1=5, k2=2, k3=5, centring="modality")
    plain = cluster_epoch(bank, ClusteringRequest(intra, united, SelectionParameters()))
    linked = cluster_epoch(bank, ClusteringRequest(intra, united, SelectionParameters(), TRANSPORT))
    np.testing.assert_array_equal(linked.intra_label, plain.intra_label)
    np.testing.assert_array_equal(linked.selected_pairs, plain.selected_pairs)
    np.testing.assert_array_equal(linked.united_label, np.repeat(np.arange(12), 10))
    assert linked.num_united_clusters == linked.diagnostics["united/clusters"] == 12
    assert linked.diagnostics["united/cross_modality_share"] == 1
    assert "united/silhouette" not in linked.diagnostics  # those were the distances' clusters
    first_stage = ClusteringRequest(intra, links=TRANSPORT)
    assert cluster_epoch(bank, first_stage).united_label is None


@pytest.mark.parametrize("change", [{"share": 0}, {"temperature": 0.001}, {"method": "magic"}])
def test_settings_out_of_range_are_refused(change):
    from ecul.errors import ConfigError
    from ecul.settings import parse_config

    with pytest.raises(ConfigError, match="links"):
        parse_config({"data": {"root": "x"}, "clustering": {"links": change}})
