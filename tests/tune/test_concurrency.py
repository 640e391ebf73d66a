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
    ],
)
def test_so_many_trials_fit_with_their_clusterings(nodes, changes, expected):
    assert full_concurrency(nodes, cluster(**changes), limit=None) == expected


def test_a_limit_lowers_it():
    assert full_concurrency([{"CPU": 8}], cluster(), limit=2) == 2
    assert features_concurrency([{"CPU": 8}], cpus_per_trial=1, limit=3) == 3


def test_clusterings_fill_the_nodes():
    assert features_concurrency([{"CPU": 3}, {"CPU": 5}], cpus_per_trial=2, limit=None) == 3
    with pytest.raises(ConfigError, match="fits on no node"):
        features_concurrency([{"CPU": 3}, {"CPU": 3}], cpus_per_trial=4, limit=None)
