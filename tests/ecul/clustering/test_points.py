"""Copies of images, and the order of points."""

import numpy as np
import pytest

from ecul.bench.simulate import even_counts, modality_of_groups, simulate_bank
from ecul.clustering import points as points_module
from ecul.clustering.pipeline import cluster, cluster_epoch
from ecul.clustering.points import find_points
from ecul.types import ClusteringParameters, ClusteringRequest, FeatureBank, SelectionParameters

EMCC = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=10, k2=4, k3=10)
KRECIPROCAL = ClusteringParameters("kreciprocal", 0.6, 4, k1=30, k2=6)
SMALL = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=3, k2=2, k3=3)


def take(bank, rows):
    return FeatureBank(np.ascontiguousarray(bank.features[rows]), bank.modality[rows], bank.camera[rows])


@pytest.fixture(scope="module")
def bank():
    return simulate_bank(even_counts(300, 6, images_per_identity=30), modality_of_groups(6), 64, seed=2)[0]


def test_copies_in_one_camera_are_one_point_and_others_are_not(bank):
    twice = take(bank, [0, 1, 0, 2, 0])
    other_camera = FeatureBank(twice.features, twice.modality, twice.camera + np.array([0, 0, 0, 0, 9], np.int32))
    points = find_points(twice)
    assert len(points) == 3
    assert points.point[0] == points.point[2] == points.point[4]
    assert points.copies[points.point[0]] == 3
    assert points.first[points.point[0]] == 0
    np.testing.assert_array_equal(points.bank.features[points.point], twice.features)
    assert len(find_points(other_camera)) == 4


def test_points_are_in_the_order_of_camera_and_content(bank):
    order = np.random.default_rng(0).permutation(len(bank))
    one, other = find_points(bank), find_points(take(bank, order))
    np.testing.assert_array_equal(one.bank.features, other.bank.features)
    assert (np.diff(one.bank.modality) >= 0).all()
    np.testing.assert_array_equal(one.point[order], other.point)


def test_rows_that_share_a_hash_are_told_apart(bank, monkeypatch):
    rows = take(bank, [5, 3, 5, 4, 3])
    same = FeatureBank(rows.features, np.zeros(5, np.int32), np.zeros(5, np.int32))
    monkeypatch.setattr(points_module, "content_hash", lambda features: np.zeros(len(features), np.uint64))
    points = find_points(same)
    assert len(points) == 3
    np.testing.assert_array_equal(points.bank.features[points.point], rows.features)
    turned = find_points(take(same, np.arange(5)[::-1]))
    np.testing.assert_array_equal(points.bank.features, turned.bank.features)


@pytest.mark.parametrize(("parameters", "num_copies"), [(SMALL, 12), (EMCC, 40), (KRECIPROCAL, 40)])
def test_more_copies_than_neighbours_are_one_cluster_in_any_order(bank, parameters, num_copies):
    rows = np.concatenate([np.arange(len(bank)), np.full(num_copies, 7)])
    order = np.random.default_rng(1).permutation(len(rows))
    plain, moved = (cluster(take(bank, chosen), parameters) for chosen in (rows, rows[order]))
    copies = rows == 7
    assert plain.labels[copies][0] >= 0
    assert len(np.unique(plain.labels[copies])) == 1
    pairs = np.unique(np.stack([plain.labels[order], moved.labels], axis=1), axis=0)
    assert len(pairs) == len(np.unique(plain.labels)) == len(np.unique(moved.labels))
    difference = plain.graph[order][:, order] - moved.graph
    assert abs(difference).max() == 0
    inside = plain.graph[copies][:, copies]
    assert inside.nnz == copies.sum() ** 2
    assert inside.max() == 0


def test_pairs_of_copies_are_all_selected(bank):
    request = ClusteringRequest(KRECIPROCAL, EMCC, SelectionParameters(3, 0.7))
    plain = cluster_epoch(bank, request).selected_pairs
    chosen = plain[0]
    rows = np.concatenate([np.arange(len(bank)), chosen])
    with_copies = cluster_epoch(take(bank, rows), request).selected_pairs
    visible, infrared = len(bank), len(bank) + 1
    expected = {(chosen[0], chosen[1]), (visible, chosen[1]), (chosen[0], infrared), (visible, infrared)}
    assert expected <= {tuple(pair) for pair in with_copies.tolist()}


def test_a_collapsed_network_is_one_cluster():
    features = np.repeat(np.array([[0.6, 0.8]], np.float32), 500, axis=0)
    camera = np.repeat(np.arange(5, dtype=np.int32), 100)
    found = cluster(FeatureBank(features, (camera > 2).astype(np.int32), camera), EMCC)
    assert found.num_clusters == 1
    assert (found.labels == 0).all()
