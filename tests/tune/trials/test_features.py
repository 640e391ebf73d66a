import math
import os
from dataclasses import replace

import numpy as np
import pytest

from ecul.clustering.pipeline import cluster
from ecul.evaluation.cluster_quality import label_quality
from ecul.types import FeatureBank
from tests.tune.conftest import simulated_bank
from tune.objectives import COST, LABEL_FREE, SOURCE, VALIDATION_FEATURES, choices, f1
from tune.trials.bank import TuningBank
from tune.trials.features import features_trial, score_bank


def test_metrics_hold_every_objective_of_the_fidelity(tiny_config):
    metrics = score_bank(with_source(simulated_bank()), tiny_config(), draws=0, intra=True, num_threads=1)
    assert set(choices("features")) <= set(metrics)
    assert set(choices("features")) == {*VALIDATION_FEATURES, *SOURCE, *LABEL_FREE, *COST}
    assert all(math.isfinite(value) for value in metrics.values())


def with_source(bank: TuningBank) -> TuningBank:
    """The bank with the held-out people of another simulation as its source."""
    other = simulated_bank(seed=5)
    return replace(bank, source=other.validation, source_identity=other.identity)


def test_source_metrics_are_of_the_source_people_and_change_no_other(tiny_config):
    bank, config = simulated_bank(), tiny_config()
    alone = score_bank(bank, config, draws=4, intra=False, num_threads=1)
    metrics = score_bank(with_source(bank), config, draws=4, intra=False, num_threads=1)
    other = score_bank(simulated_bank(seed=5), config, draws=4, intra=False, num_threads=1)
    for name in ("ari", "pair_f1", "cross_modality_f1", "cross_modality_f1_std", "clusters"):
        assert metrics[f"source_{name}"] == other[f"validation_{name}"]
    timed = "clustering_seconds"
    assert {name: metrics[name] for name in alone if name != timed} == {k: v for k, v in alone.items() if k != timed}


def test_validation_metrics_are_of_the_validation_people(tiny_config):
    bank, config = simulated_bank(), tiny_config()
    metrics = score_bank(bank, config, draws=0, intra=False, num_threads=1)
    labels = cluster(bank.validation, config.clustering.united, num_threads=1).labels
    expected = label_quality(labels, bank.identity, bank.validation.modality)
    assert metrics["validation_ari"] == expected["ari"]
    assert metrics["validation_cross_modality_f1"] == f1(expected["cross_precision"], expected["cross_recall"])
    assert "validation_visible_ari" not in metrics


def test_label_free_metrics_do_not_see_the_validation_people(tiny_config):
    bank = simulated_bank()
    alone = TuningBank(train=bank.train)
    with_people, without = (score_bank(one, tiny_config(), draws=0, intra=True, num_threads=1) for one in (bank, alone))
    assert {name: with_people[name] for name in LABEL_FREE} == {name: without[name] for name in LABEL_FREE}
    assert not any(name.startswith("validation") for name in without)


def test_perfect_features_score_one(tiny_config):
    identity = np.repeat(np.arange(6), 8).astype(np.int32)
    modality = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 6).astype(np.int32)
    features = np.eye(6, dtype=np.float32)[identity]
    perfect = FeatureBank(features, modality, modality.copy())
    config = tiny_config({"clustering.united.k1": 4, "clustering.united.k2": 2, "clustering.united.k3": 4})
    metrics = score_bank(
        TuningBank(train=perfect, validation=perfect, identity=identity), config, draws=0, intra=False, num_threads=1
    )
    assert metrics["validation_pair_f1"] == 1
    assert metrics["validation_cross_modality_f1"] == 1
    assert metrics["cross_modality_share"] == 1


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (0.5, "2")])
def test_a_trial_sees_no_gpu_that_it_did_not_reserve(tiny_config, monkeypatch, gpus, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    parameters = {"values": {}, "key": "00000"}
    features_trial(
        parameters, bank=simulated_bank(), base=tiny_config(), draws=0, intra=False, num_threads=1, gpus=gpus
    )
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_a_trial_is_a_finished_result_of_its_own_values(tiny_config):
    bank, base = simulated_bank(), tiny_config()
    parameters = {"values": {"clustering.united.eps": 0.4}, "key": "00000"}
    result = features_trial(parameters, bank=bank, base=base, draws=0, intra=False, num_threads=1, gpus=0)
    expected = score_bank(bank, tiny_config({"clustering.united.eps": 0.4}), draws=0, intra=False, num_threads=1)
    assert result["finished"]
    assert result["metrics"]["validation_ari"] == expected["validation_ari"]
