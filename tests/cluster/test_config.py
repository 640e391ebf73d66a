from pathlib import Path

import pytest

from cluster.config import (
    ClusterConfig,
    ClusteringTaskConfig,
    load_cluster_config,
    local_defaults,
    with_clustering_threads,
)
from cluster.train import build_parser
from ecul.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "cluster").glob("*.yaml"))


def test_shipped_configurations_are_read():
    assert {path.stem for path in SHIPPED} >= {"laptop", "one-node", "many-nodes"}
    for path in SHIPPED:
        assert isinstance(load_cluster_config(path), ClusterConfig)


def test_every_setting_is_explained():
    for model in (ClusterConfig, ClusteringTaskConfig):
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_an_elastic_range_gives_both_ends():
    config = load_cluster_config(None, {"num_workers": [2, 4]})
    assert (config.min_workers, config.max_workers) == (2, 4)
    assert load_cluster_config(None).min_workers == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"num_workers": [4, 2]}, "fewest, most"),
        ({"num_workers": 0}, "at least 1"),
        ({"clustering.timeout_s": 1800}, "must be more than clustering.timeout_s"),
        ({"clustering.cpus": 3}, "clustering.cpus"),
        ({"clustering.shards": 4, "clustering.num_gpus": 1}, "shards=4 with num_gpus=1: shards search on CPUs"),
        ({"num_workers": [1, 2], "gpus_per_worker": 0.5}, "they would share a GPU, which NCCL refuses"),
        ({"max_failures": "often"}, "max_failures"),
        ({"accelerator_type": "A100", "cpu": True}, "accelerator_type=A100 needs GPUs"),
        ({"placement_strategy": "TIGHT"}, "placement_strategy"),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, object], text: str):
    with pytest.raises(ConfigError, match=text):
        load_cluster_config(None, values)


def test_one_worker_may_share_a_gpu_and_several_cpu_workers_need_none():
    assert load_cluster_config(None, {"gpus_per_worker": 0.5}).resources_per_worker["GPU"] == 0.5
    assert load_cluster_config(None, {"num_workers": 2, "gpus_per_worker": 0.5, "cpu": True}).cpu


def test_workers_reserve_gpus_unless_told_otherwise():
    assert load_cluster_config(None).resources_per_worker == {"CPU": 1, "GPU": 1}
    cpu = load_cluster_config(None, {"cpu": True, "worker_resources": {"rack1": 0.5}})
    assert cpu.resources_per_worker == {"CPU": 1, "rack1": 0.5}


def test_on_ones_own_machine_the_clustering_borrows():
    assert local_defaults(load_cluster_config(None, {"cpu": True})).clustering.borrow is True
    assert local_defaults(load_cluster_config(None)).train_tab is False
    values = {"cpu": True, "clustering.borrow": False, "threads_per_worker": 3, "train_tab": True}
    chosen = load_cluster_config(None, values)
    assert local_defaults(chosen) == chosen


def test_the_trainings_number_of_clustering_threads_is_used():
    cluster = load_cluster_config(None)
    assert with_clustering_threads(cluster, None) == cluster
    assert with_clustering_threads(cluster, 3).clustering.num_threads == 3
    same = load_cluster_config(None, {"clustering.num_threads": 3})
    assert with_clustering_threads(same, 3) == same
    with pytest.raises(ConfigError, match="4 in the training's configuration and 3 in the cluster's"):
        with_clustering_threads(same, 4)


def test_workers_are_a_number_or_a_range(capsys: pytest.CaptureFixture[str]):
    parser = build_parser()
    assert parser.parse_args(["--workers", "3"]).workers == 3
    assert parser.parse_args(["--workers", "2:8"]).workers == [2, 8]
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--workers", "many"])
    assert "neither a number nor MIN:MAX" in capsys.readouterr().err


@pytest.mark.parametrize(("settings", "seconds"), [({}, 60), ({"timeout_s": 60}, 30), ({"borrow_after_s": None}, None)])
def test_a_clustering_without_room_borrows_before_its_time_is_over(settings: dict[str, object], seconds: float | None):
    cluster = load_cluster_config(None, {f"clustering.{name}": value for name, value in settings.items()})
    assert cluster.clustering.patience_s == seconds
