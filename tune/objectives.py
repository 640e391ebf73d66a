"""What a sweep may optimise, by name, and how each metric is read. No name leads to test identities."""

from collections.abc import Mapping

from ecul.errors import ConfigError

LABEL_FREE: dict[str, str] = {
    "stability": "adjusted Rand index between the clusters and those of a slightly smaller eps",
    "silhouette": "mean silhouette on the Jaccard distances",
    "cross_modality_share": "share of the clusters that hold both modalities",
    "multi_camera_share": "share of the clusters that hold several cameras",
    "clustered_share": "share of the images that are in a cluster",
    "label_free_product": "stability x cross_modality_share x clustered_share x silhouette (0 where it is negative)",
}
_DERIVED = ("clustered_share", "label_free_product")
COST: dict[str, str] = {
    "clustering_seconds": "wall seconds of one united clustering",
    "pairs_per_image": "Jaccard distances up to eps that are kept, per image",
}
LIMITED: dict[str, str] = {
    "noise_share": "share of the images that are in no cluster",
    "clusters": "number of united clusters",
}
"""What a limit may be on, beside every objective."""
FULL_LIMITED: dict[str, str] = {"gpu_memory_mib": "largest GPU memory of a worker, in MiB"}
VALIDATION_FEATURES: dict[str, str] = {
    "validation_pair_f1": "F1 of 'same cluster' against 'same person' over pairs of validation images",
    "validation_cross_modality_f1": "the same over pairs of a visible and an infrared validation image",
    "validation_ari": "adjusted Rand index of the validation clusters against the people",
    "validation_nmi": "normalised mutual information of the same",
    "validation_visible_ari": "the same of clustering.intra on the visible validation images",
    "validation_infrared_ari": "the same of clustering.intra on the infrared validation images",
}
SOURCE: dict[str, str] = {
    "source_pair_f1": "F1 of 'same cluster' against 'same person' over pairs of source images",
    "source_cross_modality_f1": "the same over pairs of a visible and an infrared source image",
    "source_ari": "adjusted Rand index of the source clusters against the people",
}
"""Of labelled people of another data set; no identity of this one is used (HyPASS, Dubourvieux et al., 2021)."""
VALIDATION_FULL: dict[str, str] = {
    "validation_map": "mAP of retrieval across modalities among validation people, after training",
    "validation_rank1": "its Rank-1",
    "validation_minp": "its mINP",
}
_RECORDED_AS = {
    "validation_map": "evaluation/map",
    "validation_rank1": "evaluation/rank1",
    "validation_minp": "evaluation/minp",
    "epoch_clustering_seconds": "seconds/cluster",
}
"""{objective: name in the record of an epoch}. Trials evaluate on the validation people, so `evaluation/` is theirs."""
_UNITED_RECORD = "united/"
"""Prefix of the united clustering's diagnostics in the record of an epoch."""
FULL_COST: dict[str, str] = {
    "epoch_clustering_seconds": "wall seconds of all clusterings of an epoch, with queueing and transfer"
}


def choices(fidelity: str) -> dict[str, str]:
    """Returns the objectives of a fidelity, with what each is."""
    measured = VALIDATION_FEATURES | SOURCE | COST if fidelity == "features" else VALIDATION_FULL | FULL_COST
    return {**measured, **LABEL_FREE}


def check_objective(metric: str, fidelity: str) -> None:
    """Checks that a metric may be optimised.

    Raises:
        ConfigError: it is of test identities, of the other fidelity, or unknown.
    """
    known = choices(fidelity)
    if metric in known:
        return
    if "test" in metric or metric.startswith("evaluation") or metric in ("map", "rank1", "minp"):
        raise ConfigError(
            f"objective {metric!r} would choose hyperparameters on test identities; "
            f"take one of {', '.join(known)} (the test split is for the final number alone)"
        )
    hint = " (it belongs to the other fidelity)" if metric in (VALIDATION_FEATURES | SOURCE | VALIDATION_FULL) else ""
    raise ConfigError(f"unknown objective {metric!r} for fidelity {fidelity}{hint}; known: {', '.join(known)}")


def check_limit(metric: str, fidelity: str) -> None:
    """Checks that a limit may be on a metric.

    Raises:
        ConfigError: it is of test identities, of the other fidelity, or unknown.
    """
    if metric not in LIMITED and not (fidelity == "full" and metric in FULL_LIMITED):
        check_objective(metric, fidelity)


def label_free_metrics(diagnostics: Mapping[str, float]) -> dict[str, float]:
    """Returns the label-free objectives of one clustering, and what limits may be on.

    Args:
        diagnostics: of `ecul.clustering.pipeline`. An objective is read under its own name, unless it is derived here.
            One that they do not hold is left out: the epochs of an older run do not have the objectives added since.
    """
    metrics = {name: diagnostics[name] for name in LABEL_FREE if name not in _DERIVED and name in diagnostics}
    metrics |= {name: diagnostics[name] for name in LIMITED if name in diagnostics}
    metrics["clustered_share"] = 1.0 - diagnostics["noise_share"]
    # a negative silhouette means overlapping clusters: the product is 0 then, not negative
    product = max(metrics["silhouette"], 0.0)
    for name in ("stability", "cross_modality_share", "clustered_share"):
        product *= metrics[name]
    return metrics | {"label_free_product": product}


def recorded_metrics(record: Mapping[str, float]) -> dict[str, float]:
    """Returns the objectives that a training epoch's record holds, and what limits may be on."""
    metrics = {name: record[recorded] for name, recorded in _RECORDED_AS.items() if recorded in record}
    memory = [value for name, value in record.items() if name.endswith("/gpu_memory_mib")]
    metrics |= {"gpu_memory_mib": max(memory)} if memory else {}
    united = {
        name.removeprefix(_UNITED_RECORD): value for name, value in record.items() if name.startswith(_UNITED_RECORD)
    }
    # epochs of stage 1 have no united clustering
    return metrics | label_free_metrics(united) if "stability" in united else metrics


def f1(precision: float, recall: float) -> float:
    """Returns the harmonic mean; 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
