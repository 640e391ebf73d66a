"""Whole clusterings: figures of the simulation, order of images, bad and tiny banks, one epoch."""

from dataclasses import replace

import numpy as np
import pytest

from ecul.bench.simulate import WIDE_GAP, Strengths, even_counts, modality_of_groups, simulate_bank
from ecul.clustering.diagnostics import adjusted_rand_index
from ecul.clustering.executor import InProcess
from ecul.clustering.pipeline import cluster, cluster_epoch, eps_curve
from ecul.evaluation.cluster_quality import label_quality
from ecul.types import ClusteringParameters, ClusteringRequest, FeatureBank, SelectionParameters

EMCC = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=10, k2=4, k3=10)
KRECIPROCAL = ClusteringParameters("kreciprocal", 0.6, 4, k1=30, k2=6)
NARROW_GAP = Strengths()
SELECTION = SelectionParameters(3, 0.7)


def simulated(num_images=1200, *, images_per_identity=56, strengths=NARROW_GAP, dim=128, seed=0):
    counts = even_counts(num_images, 6, images_per_identity=images_per_identity)
    return simulate_bank(counts, modality_of_groups(6), dim, seed=seed, strengths=strengths)


def take(bank, rows):
    return FeatureBank(np.ascontiguousarray(bank.features[rows]), bank.modality[rows], bank.camera[rows])


@pytest.fixture(scope="module")
def large():
    return simulated(8500)


def quality(pair, parameters):
    bank, identity = pair
    return label_quality(cluster(bank, parameters).labels, identity, bank.modality)


def test_kreciprocal_joins_no_modalities(large):
    found = quality(large, KRECIPROCAL)
    assert found["cross_precision"] == found["cross_recall"] == 0
    assert 0.6 < found["ari"] < 0.8


def test_emcc_joins_the_modalities(large):
    found = quality(large, EMCC)
    assert min(found["cross_precision"], found["cross_recall"]) >= 0.99
    assert found["ari"] >= 0.99


def test_filter_helps_where_the_gap_is_wide():
    pair = simulated(8500, strengths=WIDE_GAP)
    unfiltered = ClusteringParameters("emcc", 0.6, 4, "modality_camera", k1=10, k2=4, k3=60)
    with_filter, without = quality(pair, EMCC), quality(pair, unfiltered)
    assert with_filter["ari"] >= 0.95
    assert min(with_filter["cross_precision"], with_filter["cross_recall"]) >= 0.95
    assert with_filter["cross_precision"] > without["cross_precision"] + 0.02


def test_a_window_over_all_needs_a_closed_gap_where_groups_do_not():
    pair = simulated(4000, strengths=WIDE_GAP)
    window = ClusteringParameters("emcc", 0.6, 4, reading="window")
    centred = ClusteringParameters("emcc", 0.6, 4, reading="window", centring="camera")
    recall = [quality(pair, parameters)["cross_recall"] for parameters in (EMCC, window, centred)]
    assert recall[0] > 0.95
    assert recall[1] < 0.1
    assert 0.8 < recall[2] < recall[0]


@pytest.mark.parametrize("parameters", [EMCC, KRECIPROCAL])
def test_order_of_images_only_renumbers(parameters):
    bank, _ = simulated()
    order = np.random.default_rng(5).permutation(len(bank))
    plain, moved = cluster(bank, parameters), cluster(take(bank, order), parameters)
    assert adjusted_rand_index(plain.labels[order], moved.labels) == 1
    difference = abs(plain.graph[order][:, order] - moved.graph)
    assert difference.max() <= 2e-6
    assert difference.nnz <= plain.graph.nnz


def test_threads_do_not_change_a_bit():
    bank, _ = simulated()
    one, three = cluster(bank, EMCC, num_threads=1), cluster(bank, EMCC, num_threads=3)
    np.testing.assert_array_equal(one.labels, three.labels)
    assert (one.graph != three.graph).nnz == 0


@pytest.mark.parametrize("preset", ["emcc", "kreciprocal"])
def test_one_graph_gives_what_clusterings_at_each_eps_give(preset):
    counts = even_counts(300, 6, images_per_identity=10)
    bank, _ = simulate_bank(counts, modality_of_groups(6), 16, seed=3, strengths=WIDE_GAP)
    bank = FeatureBank(*(np.concatenate([part, part[:40]]) for part in (bank.features, bank.modality, bank.camera)))
    plain = ClusteringParameters(preset=preset, min_samples=3)
    values = [0.6, 0.2, 0.45]  # in any order
    curve = eps_curve(bank, plain, values, num_threads=1)
    assert [point["eps"] for point in curve] == values
    for eps, point in zip(values, curve, strict=True):
        alone = cluster(bank, replace(plain, eps=eps), num_threads=1).diagnostics
        assert {"clusters", "noise_share", "cross_modality_share", "stability", "silhouette"} <= set(point)
        assert {name: alone[name] for name in point if name != "eps"} == {k: v for k, v in point.items() if k != "eps"}


def test_diagnostics_count_what_the_labels_show():
    bank, _ = simulated()
    result = cluster(bank, EMCC)
    figures = result.diagnostics
    sizes = np.bincount(result.labels[result.labels >= 0])
    assert figures["clusters"] == result.num_clusters == len(sizes)
    assert figures["noise_share"] == pytest.approx((result.labels < 0).mean())
    assert sum(value for name, value in figures.items() if name.startswith("size_from_")) == len(sizes)
    assert figures["cross_modality_share"] == figures["multi_camera_share"] == 1
    assert 0 < figures["silhouette"] <= 1
    assert 0 < figures["stability"] <= 1
    assert sizes.max() / len(bank) == pytest.approx(figures["largest_share"])


MIXED = ClusteringParameters("emcc", 0.6, 4, reading="window", reciprocal="groups", centring="camera")
QUOTA = ClusteringParameters("camera_quota", 0.6, 4, k1=20, k2=6, k3=12, centring="modality")


@pytest.mark.parametrize(("intra", "united"), [(KRECIPROCAL, EMCC), (QUOTA, EMCC), (MIXED, MIXED), (EMCC, MIXED)])
def test_epoch_equals_its_parts(intra, united):
    bank, _ = simulated()
    result = cluster_epoch(bank, ClusteringRequest(intra, united, SELECTION))
    for kind, count in ((0, result.num_visible_clusters), (1, result.num_infrared_clusters)):
        alone = cluster(take(bank, bank.modality == kind), intra)
        np.testing.assert_array_equal(result.intra_label[bank.modality == kind], alone.labels)
        assert count == alone.num_clusters
    together = cluster(bank, united)
    np.testing.assert_array_equal(result.united_label, together.labels)
    assert result.num_united_clusters == together.num_clusters
    assert result.selected_pairs.dtype == np.int32
    assert (bank.modality[result.selected_pairs] == [0, 1]).all()
    names = set(result.diagnostics)
    assert {"united/clusters", "united/noise_share", "united/cross_modality_share", "united/silhouette"} <= names
    assert {"visible/seconds", "infrared/seconds", "united/seconds", "selection/seconds", "selection/pairs"} <= names
    assert all(isinstance(value, float) for value in result.diagnostics.values())


@pytest.mark.parametrize(("intra", "united"), [(QUOTA, EMCC), (MIXED, MIXED), (EMCC, MIXED)])
def test_blocks_of_rows_give_the_labels_of_the_whole(intra, united):
    bank, _ = simulated(500)
    request = ClusteringRequest(intra, united, SELECTION)
    whole, blocks = cluster_epoch(bank, request), cluster_epoch(bank, request, InProcess(1, num_blocks=3))
    for name in ("intra_label", "united_label", "selected_pairs"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(blocks, name))


def test_first_stage_has_no_united_labels():
    bank, _ = simulated(300)
    result = cluster_epoch(bank, ClusteringRequest(KRECIPROCAL))
    assert result.united_label is None
    assert result.selected_pairs is None
    assert result.num_united_clusters == 0


CAMERA_AWARE = ClusteringParameters("camera_aware", 0.6, 4, k1_intra=3, k1_inter=9, k2_intra=2, k2_inter=3)
BALANCED = ClusteringParameters("balanced_neighbours", 0.6, 4, k1=10, k2=3)


@pytest.mark.parametrize("intra", [KRECIPROCAL, EMCC, CAMERA_AWARE, BALANCED, QUOTA, MIXED])
@pytest.mark.parametrize("rows", [[], [0], [0, 1, 2], "visible", "infrared"])
def test_tiny_and_one_sided_banks_give_results(intra, rows):
    bank, _ = simulated(120)
    part = take(bank, np.flatnonzero(bank.modality == (rows == "infrared")) if isinstance(rows, str) else rows)
    united = MIXED if intra is QUOTA else EMCC
    result = cluster_epoch(part, ClusteringRequest(intra, united, SELECTION))
    assert result.intra_label.shape == result.united_label.shape == (len(part),)
    assert result.selected_pairs.ndim == 2
    assert np.isfinite(list(result.diagnostics.values())).all()


def test_all_noise_and_one_cluster():
    bank, _ = simulated(200)
    strict = ClusteringParameters("emcc", 0.01, 50, "modality_camera", k1=10, k2=4, k3=10)
    noise = cluster(bank, strict)
    assert (noise.labels == -1).all()
    assert noise.diagnostics["noise_share"] == 1
    same = FeatureBank(np.repeat(bank.features[:1], 9, axis=0), bank.modality[:9], bank.camera[:9])
    one = cluster(same, ClusteringParameters("kreciprocal", 0.6, 4, k1=10, k2=2))
    assert one.num_clusters == 1
    assert (one.labels == 0).all()
    assert one.graph.nnz == 81


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.ones((4, 3))}, "float32"),
        ({"features": np.ones((4, 3), np.float32)}, "norm"),
        ({"features": np.full((4, 3), np.nan, np.float32)}, "norm"),
        ({"camera": np.zeros(3, np.int32)}, "camera"),
    ],
)
def test_bad_banks_are_named(change, message):
    bank = take(simulated(120)[0], np.arange(4))
    with pytest.raises(ValueError, match=message):
        cluster(FeatureBank(**{**vars(bank), **change}), EMCC)


@pytest.mark.parametrize(
    "parameters",
    [
        ClusteringParameters("nonsense", 0.6, 4),
        ClusteringParameters("emcc", 0.6, 4, k1=0),
        ClusteringParameters("emcc", 0.6, 4, "planet", k1=10, k2=4, k3=10),
        ClusteringParameters("emcc", 0.6, 4, reading="between the lines"),
        ClusteringParameters("emcc", 0.6, 4, centring="planet"),
    ],
)
def test_bad_parameters_are_named(parameters):
    with pytest.raises(ValueError, match=r"preset|groups|reading|centring"):
        cluster(simulated(120)[0], parameters)
