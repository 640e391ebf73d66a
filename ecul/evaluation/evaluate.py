"""Retrieval quality of embeddings under a protocol, and examples of it to look at.

Shape legend: N test images, D embedding size, Q queries, K nearest gallery images.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int
from numpy.typing import NDArray

from ecul.errors import DataError
from ecul.evaluation.protocols import Trial, build_trials
from ecul.evaluation.ranking import RankingMetrics, evaluate_ranking, excluded_pairs
from ecul.progress import track
from ecul.types import LabelledIndex, RetrievalProtocol, RetrievalResult

_MANY_TIES = 0.01
_UNIT = 2.0**30  # similarities are whole multiples of 1 / _UNIT


def evaluate(
    features: Float32[np.ndarray, "N D"],
    index: LabelledIndex,
    *,
    protocol: RetrievalProtocol,
    gallery_rule: str = "community",
) -> RetrievalResult:
    """Retrieval quality in every trial of a protocol; all trials share the embeddings.

    Args:
        features: unit rows, one for each test image, in index order.
        index: all test images.
        protocol: of the dataset's layout (`ecul.data.layouts`).
        gallery_rule: `community` or `official`.

    Raises:
        DataError: features that do not fit the index or are not finite, no query, no gallery, or no match.
        ConfigError: an unknown gallery rule, or one that the protocol does not have.
    """
    _check_features(features, index)
    trials = build_trials(index, protocol=protocol, gallery_rule=gallery_rule)
    exact = features.astype(np.float64)
    tracked = track(trials, f"ranking, trials of {protocol.name}", total=len(trials))
    metrics = [_evaluate_trial(exact, index, trial) for trial in tracked]
    return RetrievalResult(
        protocol=protocol.name,
        cmc=np.stack([trial["cmc"] for trial in metrics]),
        mean_average_precision=np.array([trial["map"] for trial in metrics]),
        mean_inverse_negative_penalty=np.array([trial["minp"] for trial in metrics]),
        num_queries=np.array([trial["num_queries"] for trial in metrics]),
        num_unmatched=np.array([trial["num_unmatched"] for trial in metrics]),
        num_tied=np.array([trial["num_tied"] for trial in metrics]),
    )


def tie_warnings(results: Iterable[RetrievalResult]) -> list[str]:
    """Returns a line for each protocol of which ties decide more than a hundredth of the queries."""
    return [
        f"{result.protocol}: for {100 * result.tied_share:.0f} % of the queries a match and another image are equally "
        "far (equal embeddings, as of a collapsed network or of copied images); expected values stand for them"
        for result in results
        if result.tied_share > _MANY_TIES
    ]


@dataclass(frozen=True)
class NearestImages:
    """What the gallery picture shows.

    Attributes:
        query: (Q,) positions in the test index.
        nearest: (Q, K) positions in the test index, from near to far, left-out images skipped.
        correct: (Q, K) whether the nearest image shows the query's identity.
    """

    query: Int[np.ndarray, "Q"]
    nearest: Int[np.ndarray, "Q K"]
    correct: Bool[np.ndarray, "Q K"]


def nearest_images(
    features: Float32[np.ndarray, "N D"],
    index: LabelledIndex,
    query: Int[np.ndarray, "Q"],
    *,
    protocol: RetrievalProtocol,
    gallery_rule: str = "community",
    trial: int = 0,
    num_nearest: int = 10,
) -> NearestImages:
    """The gallery images nearest to the given queries in one trial.

    Args:
        features: unit rows, one for each test image.
        index: all test images.
        query: positions in the test index of images that are queries of the protocol.
        protocol: of the dataset's layout (`ecul.data.layouts`).
        gallery_rule: `community` or `official`.
        trial: number of the trial, from 0.
        num_nearest: K at most; fewer if some query's gallery has fewer.

    Raises:
        DataError: as for `evaluate`.
        ValueError: a position that is no query of the protocol.
    """
    _check_features(features, index)
    chosen = build_trials(index, protocol=protocol, gallery_rule=gallery_rule)[trial]
    foreign = np.setdiff1d(query, chosen.query)
    if len(foreign):
        raise ValueError(f"image {foreign[0]} is no query of {protocol.name}")
    similarity = features[query] @ features[chosen.gallery].T
    excluded = _excluded(index, Trial(query=query, gallery=chosen.gallery, rule=chosen.rule))
    num_kept = int((~excluded).sum(axis=1).min(initial=len(chosen.gallery)))
    order = np.argsort(np.where(excluded, np.inf, -similarity), axis=1, kind="stable")[:, : min(num_nearest, num_kept)]
    nearest = chosen.gallery[order]
    return NearestImages(query, nearest, index.identity[nearest] == index.identity[query][:, None])


def sample_queries(
    index: LabelledIndex,
    *,
    protocol: RetrievalProtocol,
    num_queries: int,
    seed: int,
    gallery_rule: str = "community",
) -> NDArray[np.int64]:
    """Random queries of the first trial that have a match, at most one of each identity, in index order.

    Raises:
        DataError: no query or gallery image.
    """
    trial = build_trials(index, protocol=protocol, gallery_rule=gallery_rule)[0]
    same = index.identity[trial.query][:, None] == index.identity[trial.gallery][None, :]
    matched = trial.query[(same & ~_excluded(index, trial)).any(axis=1)]
    shuffled = np.random.default_rng(seed).permutation(matched)
    one_each = shuffled[np.sort(np.unique(index.identity[shuffled], return_index=True)[1])]
    return np.sort(one_each[:num_queries])


def chance_level(
    index: LabelledIndex, *, protocol: RetrievalProtocol, gallery_rule: str = "community"
) -> dict[str, float]:
    """Expected `rank1` and `map` of a random order of the gallery, mean over queries with a match and over trials.

    With R of n images right, Rank-1 is R / n and the average precision (H_n + (R-1)/(n-1) (n - H_n)) / n,
    H_n the n-th harmonic number.

    Raises:
        DataError: no query, no gallery, or no match.
    """
    rank1, average_precision = [], []
    for trial in build_trials(index, protocol=protocol, gallery_rule=gallery_rule):
        kept = ~_excluded(index, trial)
        same = index.identity[trial.query][:, None] == index.identity[trial.gallery][None, :]
        num_right, num_kept = (same & kept).sum(axis=1), kept.sum(axis=1)
        right, total = num_right[num_right > 0], num_kept[num_right > 0]
        if len(right) == 0:
            raise DataError(f"{protocol.name}: no query has a match in the gallery")
        harmonic = np.cumsum(1.0 / np.arange(1, len(trial.gallery) + 1))[total - 1]
        tail = (right - 1) / np.maximum(total - 1, 1) * (total - harmonic)
        rank1.append((right / total).mean())
        average_precision.append(((harmonic + tail) / total).mean())
    return {"rank1": float(np.mean(rank1)), "map": float(np.mean(average_precision))}


def _check_features(features: NDArray[np.float32], index: LabelledIndex) -> None:
    if len(features) != len(index):
        raise DataError(f"got {len(features)} embeddings for {len(index)} test images")
    if not np.isfinite(features).all():
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        raise DataError(f"{len(bad)} embeddings are not finite (first: {index.samples.paths[bad[0]]})")


def _excluded(index: LabelledIndex, trial: Trial) -> NDArray[np.bool_]:
    identity, camera = index.identity, index.samples.camera
    query, gallery = trial.query, trial.gallery
    return excluded_pairs(identity[query], identity[gallery], camera[query], camera[gallery], rule=trial.rule)


def _evaluate_trial(features: NDArray[np.float64], index: LabelledIndex, trial: Trial) -> RankingMetrics:
    identity, camera = index.identity, index.samples.camera
    # Equal pairs must be equally far wherever they stand in the product, whose rounding depends on that: it is done in
    # double precision, and what is left of rounding is cut off.
    distance = features[trial.query] @ features[trial.gallery].T
    distance *= -_UNIT
    np.rint(distance, out=distance)
    return evaluate_ranking(
        distance,
        identity[trial.query],
        identity[trial.gallery],
        camera[trial.query],
        camera[trial.gallery],
        rule=trial.rule,
    )
