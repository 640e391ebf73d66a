"""What a `features` trial measures: clusterings of a bank, judged without labels and on validation people."""

import time

import numpy as np

from ecul.clustering.diagnostics import label_quality
from ecul.clustering.pipeline import Clustering, cluster
from ecul.config import Config
from ecul.types import ClusteringParameters, FeatureBank, IntArray, Modality
from tune.objectives import f1, label_free_figures
from tune.trials.bank import TuningBank


def score_bank(bank: TuningBank, config: Config, *, intra: bool, num_threads: int | None) -> dict[str, float]:
    """Returns the figures of a configuration's clusterings.

    Label-free figures and costs are of the united clustering of the training images; `validation_` figures are of the
    same clustering of the validation people's images, against who they are.

    Args:
        bank: features.
        config: whose `clustering` to use.
        intra: cluster each modality by `clustering.intra` too.
        num_threads: of the clustering.
    """
    start = time.perf_counter()
    united = cluster(bank.train, config.clustering.parameters(), num_threads=num_threads)
    figures = label_free_figures(united.diagnostics)
    figures |= {
        "clustering_seconds": time.perf_counter() - start,
        "pairs_per_image": united.graph.nnz / max(len(bank.train), 1),
        "clusters": float(united.num_clusters),
    }
    if bank.validation is not None and bank.identity is not None:
        figures |= _validation(bank.validation, bank.identity, config, intra=intra, num_threads=num_threads)
    return figures


def _validation(
    bank: FeatureBank, identity: IntArray, config: Config, *, intra: bool, num_threads: int | None
) -> dict[str, float]:
    united = cluster(bank, config.clustering.parameters(), num_threads=num_threads)
    quality = label_quality(united.labels, identity, bank.modality)
    figures = {
        "validation_pair_f1": f1(quality["pair_precision"], quality["pair_recall"]),
        "validation_cross_modality_f1": f1(quality["cross_precision"], quality["cross_recall"]),
        "validation_cross_precision": quality["cross_precision"],
        "validation_cross_recall": quality["cross_recall"],
        "validation_ari": quality["ari"],
        "validation_nmi": quality["nmi"],
        "validation_clusters": float(united.num_clusters),
    }
    if intra:
        for kind in Modality:
            rows = np.flatnonzero(bank.modality == kind)
            found = _one_modality(bank, rows, config.clustering.intra.parameters(), num_threads)
            ari = label_quality(found.labels, identity[rows], bank.modality[rows])["ari"]
            figures[f"validation_{kind.name.lower()}_ari"] = ari
    return figures


def _one_modality(
    bank: FeatureBank, rows: np.ndarray, parameters: ClusteringParameters, num_threads: int | None
) -> Clustering:
    part = FeatureBank(bank.features[rows], bank.modality[rows], bank.camera[rows])
    return cluster(part, parameters, num_threads=num_threads)
