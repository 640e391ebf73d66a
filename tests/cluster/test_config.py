from pathlib import Path

import pytest

from cluster.config import ClusterConfig, load_cluster_config, local_defaults
from cluster.train import build_parser, main
from ecul.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "cluster").glob("*.yaml"))


def test_shipped_configurations_are_read():
    assert {path.stem for path in SHIPPED} >= {"laptop", "one-node", "many-nodes"}
    for path in SHIPPED:
        assert isinstance(load_cluster_config(path), ClusterConfig)


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
        ({"max_failures": "often"}, "max_failures"),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, object], text: str):
    with pytest.raises(ConfigError, match=text):
        load_cluster_config(None, values)


def test_workers_reserve_gpus_unless_told_otherwise():
    assert load_cluster_config(None).resources_per_worker == {"CPU": 1, "GPU": 1}
    cpu = load_cluster_config(None, {"cpu": True, "worker_resources": {"rack1": 0.5}})
    assert cpu.resources_per_worker == {"CPU": 1, "rack1": 0.5}


def test_on_ones_own_machine_the_clustering_borrows():
    assert local_defaults(load_cluster_config(None, {"cpu": True})).clustering.borrow is True
    chosen = load_cluster_config(None, {"cpu": True, "clustering.borrow": False, "threads_per_worker": 3})
    assert local_defaults(chosen) == chosen


def test_workers_are_a_number_or_a_range(capsys: pytest.CaptureFixture[str]):
    parser = build_parser()
    assert parser.parse_args(["--workers", "3"]).workers == 3
    assert parser.parse_args(["--workers", "2:8"]).workers == [2, 8]
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--workers", "many"])
    assert "neither a number nor MIN:MAX" in capsys.readouterr().err


def test_threads_of_the_local_clustering_are_refused_over_ray(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    options = ["--config", str(SHIPPED[0].parents[1] / "smoke.yaml"), "--storage", str(tmp_path)]
    assert main([*options, "--set", "clustering.num_threads=2"]) == 2
    assert "--cluster-set clustering.num_threads=2" in capsys.readouterr().err
