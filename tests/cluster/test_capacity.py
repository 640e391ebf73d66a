from typing import Any

import pytest

from cluster.capacity import capped_workers, check_batch, check_capacity, demand_of
from cluster.config import ClusterConfig, load_cluster_config
from ecul.errors import ConfigError


def config(**values: Any) -> ClusterConfig:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return load_cluster_config(None, {"cpu": True, "clustering.borrow": False} | named)


def test_workers_and_task_are_added_up():
    demand = demand_of(config(num_workers=3, cpus_per_worker=2, clustering__num_cpus=4))
    assert demand.total() == {"CPU": 10}
    assert demand_of(config(num_workers=3, clustering__borrow=True)).total() == {"CPU": 3}


def test_a_cluster_that_is_too_small_is_refused_with_the_numbers():
    with pytest.raises(ConfigError) as error:
        check_capacity(config(num_workers=2), [{"CPU": 2}])
    assert str(error.value) == (
        "the cluster is too small: 2 workers of 1 CPU and the clustering of 1 CPU need CPU 3 (available: 2); use fewer "
        "--workers, or --cluster-set clustering.borrow=true to cluster on the CPUs of the waiting workers, or "
        "autoscaling: true"
    )
    check_capacity(config(num_workers=2, clustering__borrow=True), [{"CPU": 2}])
    check_capacity(config(num_workers=2), [{"CPU": 2}, {"CPU": 1}])


def test_missing_gpus_are_named():
    with pytest.raises(ConfigError, match=r"need GPU 2 \(available: 0\).*--cpu"):
        check_capacity(load_cluster_config(None, {"num_workers": 2, "clustering.borrow": True}), [{"CPU": 8}])


def test_what_fits_in_sum_must_fit_into_the_nodes():
    wide = config(num_workers=1, cpus_per_worker=1, clustering__num_cpus=4)
    with pytest.raises(ConfigError, match="fit in sum but not into the nodes"):
        check_capacity(wide, [{"CPU": 3}, {"CPU": 3}])
    check_capacity(wide, [{"CPU": 4}, {"CPU": 3}])


def test_the_task_goes_where_no_gpu_is():
    values = {"num_workers": 2, "cpus_per_worker": 4, "clustering.num_cpus": 8, "clustering.borrow": False}
    check_capacity(load_cluster_config(None, values), [{"CPU": 8, "GPU": 2}, {"CPU": 8}])


def test_an_elastic_run_leaves_room_for_the_clustering():
    assert capped_workers(config(num_workers=[1, 8]), [{"CPU": 4}]) == 3
    assert capped_workers(config(num_workers=[1, 2]), [{"CPU": 4}]) == 2


def test_the_batch_must_divide_by_each_size():
    check_batch(config(num_workers=[1, 2]), 128)
    with pytest.raises(ConfigError, match="does not divide by 3 workers"):
        check_batch(config(num_workers=[2, 4]), 128)


def test_workers_that_must_be_apart_need_a_node_each():
    apart = config(num_workers=3, placement_strategy="STRICT_SPREAD", clustering__borrow=True)
    with pytest.raises(ConfigError, match=r"need node 3 \(available: 2\)"):
        check_capacity(apart, [{"CPU": 8}, {"CPU": 8}])
    check_capacity(apart, [{"CPU": 8}] * 3)
    check_capacity(config(num_workers=3, placement_strategy="SPREAD"), [{"CPU": 8}])


def test_workers_that_must_be_together_need_a_node_for_all():
    together = config(num_workers=3, placement_strategy="STRICT_PACK", clustering__borrow=True)
    with pytest.raises(ConfigError, match=r"not into the nodes .* another placement_strategy than STRICT_PACK"):
        check_capacity(together, [{"CPU": 2}, {"CPU": 2}])
    check_capacity(together, [{"CPU": 2}, {"CPU": 3}])
    elastic = config(num_workers=[1, 3], placement_strategy="STRICT_PACK", clustering__borrow=True)
    assert capped_workers(elastic, [{"CPU": 2}, {"CPU": 2}]) == 2


def test_workers_go_only_to_nodes_with_their_accelerator():
    wanted = config(cpu=False, num_workers=2, accelerator_type="H100", clustering__borrow=True)
    old = {"CPU": 8, "GPU": 2, "accelerator_type:A100": 1}
    with pytest.raises(ConfigError, match=r"accelerator_type:H100 0.002 \(available: 0\)"):
        check_capacity(wanted, [old, old])
    check_capacity(wanted, [old, {"CPU": 8, "GPU": 2, "accelerator_type:H100": 1}])
