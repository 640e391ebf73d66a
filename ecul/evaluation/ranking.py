"""CMC, mAP and mINP of one ranking, as the field's public code counts them (docs/method.md, "Evaluation").

Shape legend: Q queries, G gallery images, R ranks, U identities of the gallery.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from ecul.errors import ConfigError, DataError
from ecul.evaluation import ties

NUM_RANKS = 20
_CHUNK_ELEMENTS = 1_000_000


class RankingMetrics(TypedDict):
    """Metrics of one ranking, in [0, 1], and what they count.

    Attributes:
        cmc: (R,), Rank-1 first.
        map: mean average precision.
        minp: mean inverse negative penalty.
        num_queries: all queries.
        num_unmatched: queries without a match in the gallery, which count for nothing.
        num_tied: counted queries with a match as far as another image, so that expected values stand for them.
    """

    cmc: NDArray[np.float64]
    map: float
    minp: float
    num_queries: int
    num_unmatched: int
    num_tied: int


@dataclass(frozen=True)
class _Ranked:
    """One chunk of queries with the gallery sorted by distance.

    Attributes:
        order: gallery columns from near to far.
        place: 1-based place of each column of `order` among the kept ones; G + 1 where it was left out.
        match: which columns of `order` are kept and show the query's identity.
        kept: which columns of `order` are not left out.
    """

    order: NDArray[np.int64]
    place: NDArray[np.int64]
    match: NDArray[np.bool_]
    kept: NDArray[np.bool_]


_Numbers = NDArray[np.integer]
_Pairs = NDArray[np.bool_]


def _same_room(query_id: _Numbers, gallery_id: _Numbers, query_camera: _Numbers, gallery_camera: _Numbers) -> _Pairs:
    return (query_camera == 3)[:, None] & (gallery_camera == 2)[None, :]


def _same_identity_and_camera(
    query_id: _Numbers, gallery_id: _Numbers, query_camera: _Numbers, gallery_camera: _Numbers
) -> _Pairs:
    return (query_id[:, None] == gallery_id[None, :]) & (query_camera[:, None] == gallery_camera[None, :])


@dataclass(frozen=True)
class _Rule:
    """How a dataset's rankings are counted.

    Attributes:
        excluded: which gallery images (columns) are left out of which query's ranking (rows), of (query_id, gallery_id,
            query_camera, gallery_camera); None = nothing, and cameras are not looked at.
        cmc_over_identities: the CMC ranks identities, each at its first image; else it ranks images.
    """

    excluded: Callable[[_Numbers, _Numbers, _Numbers, _Numbers], _Pairs] | None
    cmc_over_identities: bool


RULES: dict[str, _Rule] = {
    "sysu": _Rule(excluded=_same_room, cmc_over_identities=True),
    # its two cameras share one number, so a rule about cameras would leave everything out
    "regdb": _Rule(excluded=None, cmc_over_identities=False),
    "llcm": _Rule(excluded=_same_identity_and_camera, cmc_over_identities=True),
}


def uses_cameras(rule: str) -> bool:
    """Whether a rule looks at camera numbers."""
    return _look_up(rule).excluded is not None


def excluded_pairs(
    query_id: Int[np.ndarray, "Q"],
    gallery_id: Int[np.ndarray, "G"],
    query_camera: Int[np.ndarray, "Q"],
    gallery_camera: Int[np.ndarray, "G"],
    *,
    rule: str,
) -> Bool[np.ndarray, "Q G"]:
    """Which gallery images are left out of which query's ranking.

    `sysu`: camera 2 for queries of camera 3 (the same room); `llcm`: images of the query's identity under the query's
    camera; `regdb`: none, its two cameras share one number.

    Raises:
        ConfigError: an unknown rule.
    """
    excluded = _look_up(rule).excluded
    if excluded is None:
        return np.zeros((len(query_id), len(gallery_id)), dtype=bool)
    return excluded(query_id, gallery_id, query_camera, gallery_camera)


def _look_up(rule: str) -> _Rule:
    if rule not in RULES:
        raise ConfigError(f"ranking rule {rule!r} is unknown, expected one of {', '.join(RULES)}")
    return RULES[rule]


def evaluate_ranking(
    distance: Float[np.ndarray, "Q G"],
    query_id: Int[np.ndarray, "Q"],
    gallery_id: Int[np.ndarray, "G"],
    query_camera: Int[np.ndarray, "Q"],
    gallery_camera: Int[np.ndarray, "G"],
    *,
    rule: str,
    num_ranks: int = NUM_RANKS,
) -> RankingMetrics:
    """CMC, mAP and mINP over the queries that have a match left in the gallery; other queries are not counted.

    The CMC of `sysu` and `llcm` runs over identities (each at its first image), that of `regdb` over images; mAP and
    mINP run over images. Where a match and another image are equally far, the metrics are the expected ones over all
    orders of the images that are (`ecul.evaluation.ties`), so that the order of the gallery counts for nothing. Works
    in chunks of queries, Q G log G time.

    Args:
        distance: small = near, any increasing scale, no NaN.
        query_id: identities of the queries.
        gallery_id: identities of the gallery.
        query_camera: camera numbers of the queries.
        gallery_camera: camera numbers of the gallery.
        rule: `sysu`, `regdb` or `llcm`: what is left out (see `excluded_pairs`) and how the CMC counts.
        num_ranks: R; ranks beyond the gallery repeat the last value.

    Raises:
        DataError: a NaN distance, or no query with a match.
        ConfigError: an unknown rule.
    """
    columns_by_id = _IdentityColumns(gallery_id) if _look_up(rule).cmc_over_identities else None
    parts = []
    for part in _chunks(*distance.shape):
        excluded = excluded_pairs(query_id[part], gallery_id, query_camera[part], gallery_camera, rule=rule)
        if np.isnan(distance[part]).any():
            raise DataError("the distances hold NaN")
        ranked = _rank(distance[part], excluded, query_id[part, None] == gallery_id)
        parts.append(_count(ranked, distance[part], query_id[part], gallery_id, columns_by_id, num_ranks))
    hits, average_precision, penalty, tied = (np.concatenate(column) for column in zip(*parts or _NOTHING, strict=True))
    if not len(hits):
        raise DataError(f"none of the {len(query_id)} queries has a match among the {len(gallery_id)} gallery images")
    return {
        "cmc": hits.mean(axis=0),
        "map": float(average_precision.mean()),
        "minp": float(penalty.mean()),
        "num_queries": len(query_id),
        "num_unmatched": len(query_id) - len(hits),
        "num_tied": int(tied.sum()),
    }


_Counted = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
_NOTHING = [(np.empty((0, 1)), np.empty(0), np.empty(0), np.empty(0, np.bool_))]


def _count(
    ranked: _Ranked,
    distance: NDArray[np.floating],
    query_id: _Numbers,
    gallery_id: _Numbers,
    columns_by_id: "_IdentityColumns | None",
    num_ranks: int,
) -> _Counted:
    """Hits at each rank, average precision, inverse penalty and whether ties decide, of the queries with a match."""
    first = _first_match(ranked) if columns_by_id is None else columns_by_id.rank_of(query_id, ranked)
    counted = np.flatnonzero(ranked.match.any(axis=1))
    hits = (first[counted, None] <= np.arange(1, num_ranks + 1)).astype(np.float64)
    precision, penalty = _image_metrics(ranked)
    near = np.take_along_axis(distance, ranked.order, axis=1)
    tied = _mixed_ties(ranked, near)[counted]
    for position in np.flatnonzero(tied).tolist():
        row = int(counted[position])
        kept = ranked.kept[row]
        far, match = near[row, kept], ranked.match[row, kept]
        starts = np.flatnonzero(np.concatenate([[True], far[1:] != far[:-1]]))
        size = np.diff(np.append(starts, len(far)))
        matches = np.add.reduceat(match.astype(np.int64), starts)
        precision[position] = ties.average_precision(size, matches)
        penalty[position] = ties.inverse_penalty(size, matches)
        if columns_by_id is None:
            hits[position] = ties.hits_of_images(size, matches, num_ranks)
        else:
            identity = gallery_id[ranked.order[row, kept]]
            hits[position] = _identity_hits(far, identity, int(query_id[row]), num_ranks)
    return hits, precision, penalty, tied


def _mixed_ties(ranked: _Ranked, near: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which queries (rows) have a match as far as another image that is not left out."""
    equal = near[:, 1:] == near[:, :-1]
    found = np.zeros(len(near), np.bool_)
    rows = np.flatnonzero(equal.any(axis=1))
    number = np.cumsum(~equal[rows], axis=1, dtype=np.int64)
    tie = (
        np.concatenate([np.zeros((len(rows), 1), np.int64), number], axis=1)
        + near.shape[1] * np.arange(len(rows))[:, None]
    )
    match, other = ranked.match[rows], ranked.kept[rows] & ~ranked.match[rows]
    total = near.shape[1] * len(rows)
    mixed = (np.bincount(tie[match], minlength=total) > 0) & (np.bincount(tie[other], minlength=total) > 0)
    found[rows] = mixed.reshape(len(rows), near.shape[1]).any(axis=1)
    return found


def _identity_hits(far: NDArray[np.floating], identity: _Numbers, query_id: int, num_ranks: int) -> NDArray[np.float64]:
    """Expected hits of the query's identity among identities; `far` and `identity` from near to far."""
    nearest = far[np.argmax(identity == query_id)]
    before = np.unique(identity[far < nearest])
    inside, images = np.unique(identity[far == nearest], return_counts=True)
    own = int(images[inside == query_id][0])
    others = images[~np.isin(inside, before) & (inside != query_id)]
    return ties.hits_of_identities(len(before), own, others.tolist(), num_ranks)


def _chunks(num_queries: int, num_gallery: int) -> Iterator[slice]:
    """Slices of queries that hold a bounded number of distances; none for an empty gallery."""
    size = max(1, _CHUNK_ELEMENTS // max(1, num_gallery))
    for start in range(0, num_queries if num_gallery else 0, size):
        yield slice(start, start + size)


def _rank(distance: NDArray[np.floating], excluded: NDArray[np.bool_], same_id: NDArray[np.bool_]) -> _Ranked:
    order = np.argsort(distance, axis=1, kind="stable")
    match = np.take_along_axis(same_id & ~excluded, order, axis=1)
    if excluded.any():
        kept = ~np.take_along_axis(excluded, order, axis=1)
        place = np.where(kept, kept.cumsum(axis=1), distance.shape[1] + 1)
    else:
        kept = np.broadcast_to(np.True_, order.shape)
        place = np.broadcast_to(np.arange(1, distance.shape[1] + 1), order.shape)
    return _Ranked(order=order, place=place, match=match, kept=kept)


def _image_metrics(ranked: _Ranked) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average precision and inverse negative penalty (matches / place of the last one) of the queries with a match."""
    num_matches = ranked.match.sum(axis=1)
    num_matches = num_matches[num_matches > 0]
    if len(num_matches) == 0:
        return np.zeros(0), np.zeros(0)
    places = ranked.place[ranked.match]
    starts = np.cumsum(num_matches) - num_matches
    nth = np.arange(1, len(places) + 1) - np.repeat(starts, num_matches)
    precision_sum = np.add.reduceat(nth / places, starts)
    return precision_sum / num_matches, num_matches / places[starts + num_matches - 1]


def _first_match(ranked: _Ranked) -> NDArray[np.int64]:
    """1-based place of the nearest match; arbitrary where there is none."""
    return np.take_along_axis(ranked.place, ranked.match.argmax(axis=1)[:, None], axis=1)[:, 0]


class _IdentityColumns:
    """Gallery columns grouped by identity."""

    def __init__(self, gallery_id: NDArray[np.integer]) -> None:
        self._identities, self._starts = np.unique(np.sort(gallery_id), return_index=True)
        self._columns = np.argsort(gallery_id, kind="stable")

    def rank_of(self, query_id: NDArray[np.integer], ranked: _Ranked) -> NDArray[np.int64]:
        """1-based rank of the query's identity when every identity stands at its first image; arbitrary if absent."""
        place = np.empty_like(ranked.order)
        np.put_along_axis(place, ranked.order, ranked.place, axis=1)
        best = np.minimum.reduceat(place[:, self._columns], self._starts, axis=1)
        column = np.minimum(np.searchsorted(self._identities, query_id), len(self._identities) - 1)
        return 1 + (best < np.take_along_axis(best, column[:, None], axis=1)).sum(axis=1)
