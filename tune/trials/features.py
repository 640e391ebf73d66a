"""A trial of the `features` fidelity: it clusters a saved bank and scores the clusters."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.gpus import free_gpu_memory, hide_all_gpus
from ecul.clustering.pipeline import Clustering, cluster
from ecul.config import Config
from ecul.evaluation.cluster_quality import label_quality
from ecul.types import ClusteringParameters, FeatureBank, IntArray, Modality
from tune.objectives import f1, label_free_metrics
from tune.roles import intra_parameters, united_parameters
from tune.trials.bank import TuningBank
from tune.trials.draws import Positions, over_draws
from tune.trials.result import trial_result
from tune.trials.settings import trial_config


def features_trial(
    parameters: Mapping[str, Any],
    *,
    bank: TuningBank,
    base: Config,
    draws: int,
    intra: bool,
    num_threads: int,
    gpus: float,
) -> dict[str, Any]:
    """Clusters the shared bank with a trial's values and returns its result. Ray Tune calls it.

    Args:
        parameters: `values`, {configuration path: value}, and `key`.
        bank: read-only memory of the object store.
        base: configuration that the values change.
        draws: of the validation people (`score_bank`).
        intra: whether the sweep searches the clustering inside one modality.
        num_threads: threads of this trial.
        gpus: reserved by this trial.
    """
    if not gpus:
        hide_all_gpus()
    config = trial_config(base, parameters["values"])
    try:
        metrics = score_bank(bank, config, draws=draws, intra=intra, num_threads=num_threads)
    finally:
        free_gpu_memory()
    return trial_result(metrics, finished=True)


def score_bank(
    bank: TuningBank, config: Config, *, draws: int, intra: bool, num_threads: int | None
) -> dict[str, float]:
    """Returns the metrics of a configuration's clusterings.

    Label-free metrics and costs are of the united clustering of the training images. `validation_` metrics compare the
    same clustering of the validation people's images with their identities, `source_` metrics that of the source
    people's; see `tune.trials.draws`.

    Args:
        bank: features.
        config: whose clustering settings to use.
        draws: of the labelled people; 0 scores all of them once.
        intra: cluster each modality alone too.
        num_threads: of the clustering; None for its default.
    """
    start = time.perf_counter()
    united = cluster(bank.train, united_parameters(config), num_threads=num_threads)
    metrics = label_free_metrics(united.diagnostics)
    metrics |= {
        "clustering_seconds": time.perf_counter() - start,
        "pairs_per_image": united.graph.nnz / max(len(bank.train), 1),
        "clusters": float(united.num_clusters),
    }
    for prefix, people, identity in (
        ("validation", bank.validation, bank.identity),
        ("source", bank.source, bank.source_identity),
    ):
        if people is not None and identity is not None:
            quality = _quality(people, identity, config, draws=draws, intra=intra, num_threads=num_threads)
            metrics |= {f"{prefix}_{name}": value for name, value in quality.items()}
    return metrics


def _quality(
    bank: FeatureBank, identity: IntArray, config: Config, *, draws: int, intra: bool, num_threads: int | None
) -> dict[str, float]:
    """How well the clusters of labelled people are these people."""
    united = cluster(bank, united_parameters(config), num_threads=num_threads)
    by_modality: dict[Modality, IntArray] = {}
    for modality in Modality if intra else ():
        rows = np.flatnonzero(bank.modality == modality)
        found = _cluster_rows(bank, rows, intra_parameters(config), num_threads=num_threads)
        by_modality[modality] = np.full(len(bank), -1, np.int32)
        by_modality[modality][rows] = found.labels

    def scores(rows: Positions) -> dict[str, float]:
        quality = label_quality(united.labels[rows], identity[rows], bank.modality[rows])
        metrics = {
            "pair_f1": f1(quality["pair_precision"], quality["pair_recall"]),
            "cross_modality_f1": f1(quality["cross_precision"], quality["cross_recall"]),
            "cross_precision": quality["cross_precision"],
            "cross_recall": quality["cross_recall"],
            "ari": quality["ari"],
            "nmi": quality["nmi"],
        }
        for modality, labels in by_modality.items():
            own = rows[bank.modality[rows] == modality]
            ari = label_quality(labels[own], identity[own], bank.modality[own])["ari"]
            metrics[f"{modality.name.lower()}_ari"] = ari
        return metrics

    return {**over_draws(scores, identity, draws), "clusters": float(united.num_clusters)}


def _cluster_rows(
    bank: FeatureBank, rows: np.ndarray, parameters: ClusteringParameters, *, num_threads: int | None
) -> Clustering:
    part = FeatureBank(features=bank.features[rows], modality=bank.modality[rows], camera=bank.camera[rows])
    return cluster(part, parameters, num_threads=num_threads)
