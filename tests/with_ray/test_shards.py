"""The clustering as a graph of tasks gives the labels of the clustering in one piece."""

import time
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
import ray

from cluster.config import ClusterConfig
from cluster.remote_clustering import RemoteClustering
from ecul.clustering.executor import row_blocks
from ecul.clustering.pipeline import cluster_epoch
from ecul.errors import TrainingError
from ecul.settings import clustering_parameters
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, SelectionParameters
from tests.with_ray.runs import SmallCluster


def people(num_images: int, *, seed: int = 0) -> FeatureBank:
    """Unit vectors around 20 centres, half of them of each modality, in four cameras."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, 32))
    features = centres[generator.integers(20, size=num_images)] + 0.3 * generator.normal(size=(num_images, 32))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    camera = generator.integers(4, size=num_images).astype(np.int32)
    return FeatureBank(features.astype(np.float32), (camera >= 2).astype(np.int32), camera)


def assert_equal(one: ClusteringResult, other: ClusteringResult) -> None:
    for field in fields(ClusteringResult):
        if field.name != "diagnostics":
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert set(other.diagnostics) <= set(one.diagnostics)
    # products in other blocks have other last bits, which the lists do not show but the search's report does
    own = {"search/observed_error", "search/rows_again", "search/rows_by_hand"}
    for name, value in other.diagnostics.items():
        if "seconds" not in name and name not in own:
            assert one.diagnostics[name] == value, name


@pytest.mark.parametrize("preset", ["emcc", "kreciprocal", "balanced_neighbours", "camera_aware", "camera_quota"])
def test_shards_give_the_labels_of_one_piece(
    ray_cluster: SmallCluster, small: Callable[..., ClusterConfig], preset: str
):
    bank = people(300)
    numbers = {"k1": 6, "k2": 3} if preset != "camera_aware" else {}
    parameters = clustering_parameters(preset, {**numbers, "eps": 0.5})
    request = ClusteringRequest(parameters, parameters, SelectionParameters(3, 0.7))
    warnings: list[str] = []
    sharded = RemoteClustering(small({"clustering.shards": 3}).clustering, warnings.append)(bank, request)
    assert_equal(sharded, cluster_epoch(bank, request, num_threads=1))
    assert sharded.diagnostics["task/object_mib"] == pytest.approx(bank.features.nbytes / 2**20)
    assert not warnings


def test_shards_give_the_labels_of_one_piece_where_clusterings_see_other_lists_and_centres(
    ray_cluster: SmallCluster, small: Callable[..., ClusterConfig]
):
    bank = people(300)
    mixed = {"k1": 6, "k2": 3, "k3": 20, "reading": "window", "reciprocal": "groups", "eps": 0.5}
    intra = clustering_parameters("emcc", {**mixed, "centring": "modality"})
    united = clustering_parameters("emcc", {**mixed, "centring": "camera"})
    request = ClusteringRequest(intra, united, SelectionParameters(3, 0.7))
    sharded = RemoteClustering(small({"clustering.shards": 3}).clustering, lambda message: None)(bank, request)
    assert sharded.num_united_clusters
    assert_equal(sharded, cluster_epoch(bank, request, num_threads=1))


def test_stage_one_has_no_united_clustering(ray_cluster: SmallCluster, small: Callable[..., ClusterConfig]):
    bank = people(120, seed=1)
    request = ClusteringRequest(clustering_parameters("emcc", {"k1": 6, "k2": 3, "k3": 6, "eps": 0.5}))
    for shards in (1, 4):
        remote = RemoteClustering(small({"clustering.shards": shards}).clustering, lambda message: None)
        assert_equal(remote(bank, request), cluster_epoch(bank, request, num_threads=1))


def test_an_error_of_the_clustering_reaches_the_caller(ray_cluster: SmallCluster, small: Callable[..., ClusterConfig]):
    bank = people(50)
    broken = FeatureBank(2 * bank.features, bank.modality, bank.camera)
    request = ClusteringRequest(clustering_parameters("emcc", {}))
    with pytest.raises(TrainingError, match="normalise the rows"):
        RemoteClustering(small().clustering, lambda message: None)(broken, request)


@pytest.mark.bench
def test_the_features_of_sysu_are_shipped_within_a_second(
    ray_cluster: SmallCluster, small: Callable[..., ClusterConfig]
):
    features = np.zeros((34_167, 2_048), np.float32)

    @ray.remote(num_cpus=1)
    def read(bank: FeatureBank) -> np.ndarray:
        return bank.features[:, 0].astype(np.int32)

    ray.get(read.remote(FeatureBank(features[:1], np.zeros(1, np.int32), np.zeros(1, np.int32))))
    start = time.perf_counter()
    labels = ray.get(read.remote(ray.put(FeatureBank(features, np.zeros(1, np.int32), np.zeros(1, np.int32)))))
    seconds = time.perf_counter() - start
    print(f"shipping {features.nbytes / 2**20:.0f} MiB and labels back: {seconds:.2f} s")
    assert len(labels) == len(features)
    assert seconds <= 1


def test_row_ranges_cover_all_rows_once():
    for num_rows, num_shards in ((10, 3), (2, 5), (1, 1), (7, 7)):
        ranges = row_blocks(num_rows, num_shards)
        assert [row for first, last in ranges for row in range(first, last)] == list(range(num_rows))
        assert all(first < last for first, last in ranges)
