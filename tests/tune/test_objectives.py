import pytest

from tune.objectives import LABEL_FREE, VALIDATION_FULL, choices, f1, label_free_metrics, recorded_metrics


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
    }
    metrics = recorded_metrics(record)
    assert set(metrics) == set(choices("full"))
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
