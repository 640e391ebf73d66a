import pytest

from ecul.errors import ConfigError
from tune.objectives import (
    LABEL_FREE,
    LIMITED,
    VALIDATION_FULL,
    check_limit,
    check_objective,
    choices,
    f1,
    label_free_metrics,
    recorded_metrics,
)


@pytest.mark.parametrize(("precision", "recall", "expected"), [(1, 1, 1), (0, 0, 0), (1, 0, 0), (0.5, 1, 2 / 3)])
def test_f1_is_the_harmonic_mean(precision, recall, expected):
    assert f1(precision, recall) == pytest.approx(expected)


def test_the_product_of_label_free_signals_is_zero_where_clusters_overlap():
    diagnostics = {
        "stability": 0.5,
        "silhouette": 0.4,
        "cross_modality_share": 0.5,
        "multi_camera_share": 1.0,
        "noise_share": 0.2,
    }
    assert label_free_metrics(diagnostics)["label_free_product"] == pytest.approx(0.5 * 0.4 * 0.5 * 0.8)
    assert label_free_metrics(diagnostics | {"silhouette": -0.1})["label_free_product"] == 0


def test_an_epochs_record_holds_every_objective_of_full_trials():
    united = {"stability": 0.5, "silhouette": 0.4, "cross_modality_share": 0.5, "multi_camera_share": 1.0}
    record = {
        "epoch": 3.0,
        "evaluation/map": 0.7,
        "evaluation/rank1": 0.8,
        "evaluation/minp": 0.6,
        "seconds/cluster": 1.5,
        **{f"united/{name}": value for name, value in united.items()},
        "united/noise_share": 0.2,
        "united/clusters": 90.0,
    }
    metrics = recorded_metrics(record)
    assert set(metrics) == {*choices("full"), *LIMITED}
    assert [metrics[name] for name in VALIDATION_FULL] == [0.7, 0.8, 0.6]
    assert metrics["clustered_share"] == pytest.approx(0.8)


def test_an_epoch_without_a_united_clustering_has_no_label_free_metrics():
    assert recorded_metrics({"epoch": 1.0, "evaluation/map": 0.5, "united/clusters": 0.0}) == {"validation_map": 0.5}


def test_epochs_recorded_before_an_objective_was_added_keep_the_others(monkeypatch):
    united = {"stability": 0.5, "silhouette": 0.4, "cross_modality_share": 0.5, "multi_camera_share": 1.0}
    record = {"united/noise_share": 0.2, **{f"united/{name}": value for name, value in united.items()}}
    before = recorded_metrics(record)
    monkeypatch.setitem(LABEL_FREE, "largest_share", "share of the images in the largest cluster")
    assert recorded_metrics(record) == before
    assert recorded_metrics(record | {"united/largest_share": 0.1}) == before | {"largest_share": 0.1}


def test_memory_is_that_of_the_fullest_worker():
    record = {"epoch": 1.0, "rank0/gpu_memory_mib": 700.0, "rank1/gpu_memory_mib": 900.0}
    assert recorded_metrics(record) == {"gpu_memory_mib": 900.0}


@pytest.mark.parametrize(("metric", "fidelity"), [("noise_share", "features"), ("gpu_memory_mib", "full")])
def test_more_may_be_limited_than_optimised(metric, fidelity):
    check_limit(metric, fidelity)
    with pytest.raises(ConfigError, match="unknown objective"):
        check_objective(metric, fidelity)


@pytest.mark.parametrize(("metric", "fidelity"), [("gpu_memory_mib", "features"), ("evaluation/map", "full")])
def test_what_a_fidelity_does_not_measure_cannot_be_limited(metric, fidelity):
    with pytest.raises(ConfigError):
        check_limit(metric, fidelity)
