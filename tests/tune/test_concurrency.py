import pytest

from cluster.config import load_cluster_config
from ecul.errors import ConfigError
from tune.concurrency import features_concurrency, full_concurrency


def cluster(**changes):
    return load_cluster_config(None, {"cpu": True, "clustering.borrow": False, **changes})


@pytest.mark.parametrize(
    ("nodes", "changes", "expected"),
    [
        ([{"CPU": 2}], {}, 1),  # a worker and its clustering each
        ([{"CPU": 2}], {"clustering.borrow": True}, 2),
        ([{"CPU": 8}], {}, 4),
        ([{"CPU": 8}], {"num_workers": 3}, 2),
        ([{"CPU": 8}], {"num_workers": [1, 3]}, 2),
        ([{"CPU": 3}, {"CPU": 3}], {"num_workers": 2}, 2),
        ([{"CPU": 3}, {"CPU": 3}], {"clustering.num_cpus": 3}, 1),
        ([{"CPU": 16, "GPU": 2}], {"cpu": False}, 2),
        ([{"CPU": 2}], {"autoscaling": True}, 1),
        ([{"CPU": 6}] * 2, {"num_workers": 2, "placement_strategy": "STRICT_SPREAD"}, 4),
        ([{"CPU": 3}] * 2, {"num_workers": 2, "placement_strategy": "STRICT_PACK", "clustering.borrow": True}, 2),
    ],
)
def test_so_many_trials_fit_with_their_clusterings(nodes, changes, expected):
    assert full_concurrency(nodes, cluster(**changes), limit=None) == expected


def test_a_limit_lowers_it():
    assert full_concurrency([{"CPU": 8}], cluster(), limit=2) == 2
    assert features_concurrency([{"CPU": 8}], cpus=1, limit=3) == 3


def test_clusterings_fill_the_nodes():
    assert features_concurrency([{"CPU": 3}, {"CPU": 5}], cpus=2, limit=None) == 3
    with pytest.raises(ConfigError, match="fits on no node"):
        features_concurrency([{"CPU": 3}, {"CPU": 3}], cpus=4, limit=None)


def test_clusterings_share_the_gpus_that_they_reserve():
    nodes = [{"CPU": 8, "GPU": 1}, {"CPU": 8}]
    assert features_concurrency(nodes, cpus=1, gpus=0.25, limit=None) == 4
    assert features_concurrency(nodes, cpus=4, gpus=0.25, limit=None) == 2
    with pytest.raises(ConfigError, match=r"features.gpus_per_trial=1 fits on no node \(there: 8 CPU, 0 GPU\)"):
        features_concurrency(nodes[1:], cpus=1, gpus=1, limit=None)
