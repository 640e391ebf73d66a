"""The small frozen records that pass between the stages.

Shape legend: N images, D embedding size, P selected pairs, T evaluation trials, R ranks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.names import LayoutName
from ecul.parameters import ClusteringParameters, LinkParameters, SelectionParameters

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


class Modality(IntEnum):
    """What a camera sees."""

    VISIBLE = 0
    INFRARED = 1


def group_ids(modality: NDArray[np.integer[Any]], camera: NDArray[np.integer[Any]]) -> IntArray:
    """Dense group number of every image; a group is a (modality, camera) pair, numbered in sorted order.

    The pair is used because RegDB gives both modalities the same camera number.
    """
    pairs = np.stack([np.asarray(modality, np.int64), np.asarray(camera, np.int64)], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)


def noise_as_singletons(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Labels (N,) in which every noise image (-1) is a cluster of its own, as agreement measures need them."""
    noise = labels < 0
    separate = labels.astype(np.int64)
    separate[noise] = labels.max(initial=-1) + 1 + np.arange(np.count_nonzero(noise))
    return separate


@dataclass(frozen=True)
class SampleIndex:
    """Images a model may train on. It has no identity field, on purpose.

    Attributes:
        paths: image files, N of them; an image's position here is its index everywhere.
        modality: int32 (N,), values of `Modality`.
        camera: int32 (N,), camera numbers as in the dataset.
    """

    paths: tuple[str, ...]
    modality: IntArray
    camera: IntArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)


@dataclass(frozen=True)
class LabelledIndex:
    """Images with identities, for evaluation and for reported (never used) cluster quality.

    Attributes:
        samples: the images.
        identity: int32 (N,), identity numbers as in the dataset.
    """

    samples: SampleIndex
    identity: IntArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.samples)


@dataclass(frozen=True)
class FeatureBank:
    """L2-normalised embeddings of a `SampleIndex`, in its order.

    Attributes:
        features: float32 (N, D), unit rows.
        modality: int32 (N,).
        camera: int32 (N,).
    """

    features: FloatArray
    modality: IntArray
    camera: IntArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.features)


@dataclass(frozen=True)
class ClusteringRequest:
    """All that one epoch asks of the clustering. `united` and `selection` are None in stage 1."""

    intra: ClusteringParameters
    united: ClusteringParameters | None = None
    selection: SelectionParameters | None = None
    links: LinkParameters = field(default_factory=LinkParameters)


@dataclass(frozen=True)
class ClusteringResult:
    """Pseudo-labels of one epoch; small enough to send to every rank.

    Attributes:
        intra_label: int32 (N,), numbered 0.. within each modality, -1 noise.
        num_visible_clusters: clusters among the visible images.
        num_infrared_clusters: clusters among the infrared images.
        united_label: int32 (N,) numbered over both modalities, -1 noise; None in stage 1.
        num_united_clusters: 0 in stage 1.
        selected_pairs: int32 (P, 2), columns (visible image, infrared image); None in stage 1.
        diagnostics: label-free metrics by name (cluster counts, noise share, seconds, ...).
    """

    intra_label: IntArray
    num_visible_clusters: int
    num_infrared_clusters: int
    united_label: IntArray | None = None
    num_united_clusters: int = 0
    selected_pairs: IntArray | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class RetrievalProtocol:
    """How retrieval is measured on a dataset (docs/method.md, "Evaluation").

    Attributes:
        name: as settings and results call it.
        rule: what a ranking leaves out and how its CMC counts: the rule of a layout (`ecul.evaluation.ranking.RULES`).
        query_modality: of the queries; the gallery is of the other one.
        gallery_cameras: cameras of the gallery; None = all.
        num_shots: images drawn for each (identity, camera) of the gallery; None = all images, nothing is drawn.
        official_galleries: the dataset's own code comes with fixed galleries (gallery rule `official`).
    """

    name: str
    rule: LayoutName
    query_modality: Modality
    gallery_cameras: tuple[int, ...] | None = None
    num_shots: int | None = None
    official_galleries: bool = False

    @property
    def gallery_modality(self) -> Modality:
        """The modality that is not the query's."""
        return Modality(1 - self.query_modality)


@dataclass(frozen=True)
class RetrievalResult:
    """Retrieval quality of one protocol over its trials.

    Attributes:
        protocol: name, such as `sysu_all_single_shot`.
        cmc: float64 (T, R), cumulative matching characteristic; column r is Rank-(r+1), in [0, 1].
        mean_average_precision: float64 (T,), in [0, 1].
        mean_inverse_negative_penalty: float64 (T,), in [0, 1].
        num_queries: (T,), all queries.
        num_unmatched: (T,), queries without a match in the gallery, which count for nothing.
        num_tied: (T,), counted queries with a match as far as another image; expected values stand for them.
    """

    protocol: str
    cmc: NDArray[np.float64]
    mean_average_precision: NDArray[np.float64]
    mean_inverse_negative_penalty: NDArray[np.float64]
    num_queries: NDArray[np.int64]
    num_unmatched: NDArray[np.int64]
    num_tied: NDArray[np.int64]

    @property
    def tied_share(self) -> float:
        """Share of the counted queries, over all trials, that ties decide."""
        return float(self.num_tied.sum() / max(1, (self.num_queries - self.num_unmatched).sum()))

    def trials(self) -> dict[str, list[float]]:
        """Every trial's figures and what they count, by name."""
        return {
            "rank1": self.cmc[:, 0].tolist(),
            "map": self.mean_average_precision.tolist(),
            "minp": self.mean_inverse_negative_penalty.tolist(),
            "queries": self.num_queries.tolist(),
            "without_match": self.num_unmatched.tolist(),
            "decided_by_ties": self.num_tied.tolist(),
        }

    def summary(self) -> dict[str, float]:
        """Mean and standard deviation over trials, by the field's names (rank1, map, minp; `_std`)."""
        columns = {f"rank{rank}": self.cmc[:, rank - 1] for rank in (1, 5, 10, 20) if rank <= self.cmc.shape[1]}
        columns["map"] = self.mean_average_precision
        columns["minp"] = self.mean_inverse_negative_penalty
        return {
            name + suffix: float(value)
            for name, values in columns.items()
            for suffix, value in (("", values.mean()), ("_std", values.std()))
        }
