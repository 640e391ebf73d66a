import math

import numpy as np
import pytest

from ecul.clustering.diagnostics import label_quality
from ecul.clustering.pipeline import cluster
from ecul.types import FeatureBank
from tests.tune.conftest import simulated_bank
from tune.objectives import COST, LABEL_FREE, VALIDATION_FEATURES, choices, f1, label_free_figures
from tune.trials.bank import TuningBank
from tune.trials.features import score_bank


def test_figures_hold_every_objective_of_the_fidelity(tiny_config):
    figures = score_bank(simulated_bank(), tiny_config(), intra=True, num_threads=1)
    assert set(choices("features")) <= set(figures)
    assert set(choices("features")) == {*VALIDATION_FEATURES, *LABEL_FREE, *COST}
    assert all(math.isfinite(value) for value in figures.values())


def test_validation_figures_are_of_the_validation_people(tiny_config):
    bank, config = simulated_bank(), tiny_config()
    figures = score_bank(bank, config, intra=False, num_threads=1)
    labels = cluster(bank.validation, config.clustering.parameters(), num_threads=1).labels
    expected = label_quality(labels, bank.identity, bank.validation.modality)
    assert figures["validation_ari"] == expected["ari"]
    assert figures["validation_cross_modality_f1"] == f1(expected["cross_precision"], expected["cross_recall"])
    assert "validation_visible_ari" not in figures


def test_label_free_figures_do_not_see_the_validation_people(tiny_config):
    bank = simulated_bank()
    alone = TuningBank(bank.train, None, None, {})
    with_people, without = (score_bank(one, tiny_config(), intra=True, num_threads=1) for one in (bank, alone))
    assert {name: with_people[name] for name in LABEL_FREE} == {name: without[name] for name in LABEL_FREE}
    assert not any(name.startswith("validation") for name in without)


def test_perfect_features_score_one(tiny_config):
    identity = np.repeat(np.arange(6), 8).astype(np.int32)
    modality = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 6).astype(np.int32)
    features = np.eye(6, dtype=np.float32)[identity]
    perfect = FeatureBank(features, modality, modality.copy())
    config = tiny_config({"clustering.k1": 4, "clustering.k2": 2, "clustering.k3": 4})
    figures = score_bank(TuningBank(perfect, perfect, identity, {}), config, intra=False, num_threads=1)
    assert figures["validation_pair_f1"] == 1
    assert figures["validation_cross_modality_f1"] == 1
    assert figures["cross_modality_share"] == 1


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
    assert label_free_figures(diagnostics)["label_free_product"] == pytest.approx(0.5 * 0.4 * 0.5 * 0.8)
    assert label_free_figures(diagnostics | {"silhouette": -0.1})["label_free_product"] == 0
