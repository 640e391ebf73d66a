"""Cluster memories as they stand at the start of an epoch.

Source: ECUL, cross-modal memory aggregation (docs/method.md, "An epoch, step by step").

Shape legend: N images, D embedding size, K clusters.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ecul.memory.segments import modality_balanced_means, segment_means


@torch.no_grad()
def cluster_means(
    features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], *, num_clusters: int
) -> Float[Tensor, "K D"]:
    """The normalised mean embedding of every cluster.

    Args:
        features: embeddings, unit rows.
        labels: dense cluster numbers 0..num_clusters-1; -1 (noise) belongs to no cluster.
        num_clusters: K; 0 gives an empty memory.

    Returns:
        Unit rows (a zero row where a cluster's embeddings cancel out).

    Raises:
        ValueError: a label outside -1..num_clusters-1, or a cluster without an image.
    """
    _check_range(labels, num_clusters)
    means, counts = segment_means(features, labels, num_segments=num_clusters)
    _check_occupied(counts)
    return F.normalize(means, dim=1)


@torch.no_grad()
def united_means(
    features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], modality: Int[Tensor, "N"], *, num_clusters: int
) -> Float[Tensor, "K D"]:
    """The normalised mean of the two modality means of every cluster, so that both modalities weigh the same.

    A cluster that holds one modality only gets the mean of that one.

    Args:
        features: embeddings, unit rows.
        labels: dense united cluster numbers 0..num_clusters-1; -1 (noise) belongs to no cluster.
        modality: values of `Modality`, 0 or 1.
        num_clusters: K; 0 gives an empty memory.

    Returns:
        Unit rows (a zero row where a cluster's embeddings cancel out).

    Raises:
        ValueError: a label outside -1..num_clusters-1, or a cluster without an image.
    """
    _check_range(labels, num_clusters)
    means, counts = modality_balanced_means(features, labels, modality, num_segments=num_clusters)
    _check_occupied(counts)
    return F.normalize(means, dim=1)


@torch.no_grad()
def random_members(
    features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], *, num_clusters: int, generator: torch.Generator
) -> Float[Tensor, "K D"]:
    """The embedding of one random image of every cluster: the initial rows of MPJL's first stage on SYSU-MM01.

    Args:
        features: embeddings, unit rows.
        labels: dense cluster numbers 0..num_clusters-1; -1 (noise) belongs to no cluster.
        num_clusters: K; 0 gives an empty memory.
        generator: a CPU generator, so that every device and rank draws the same images.

    Returns:
        Rows of `features`.

    Raises:
        ValueError: a label outside -1..num_clusters-1, or a cluster without an image.
    """
    _check_range(labels, num_clusters)
    shuffled = torch.randperm(len(labels), generator=generator).to(labels.device)
    in_order, by_cluster = torch.sort(labels[shuffled], stable=True)
    clusters = torch.arange(num_clusters, device=labels.device, dtype=labels.dtype)
    begin, end = (torch.searchsorted(in_order, clusters, right=right) for right in (False, True))
    _check_occupied(end - begin)
    return features[shuffled[by_cluster[begin]]]


def _check_range(labels: Tensor, num_clusters: int) -> None:
    if len(labels) and not (int(labels.min()) >= -1 and int(labels.max()) < num_clusters):
        span = f"{int(labels.min())}..{int(labels.max())}"
        raise ValueError(f"cluster labels run over {span}, expected -1..{num_clusters - 1}")


def _check_occupied(counts: Tensor) -> None:
    empty = torch.nonzero(counts == 0).flatten().tolist()
    if empty:
        raise ValueError(f"{len(empty)} clusters have no image (first: {empty[0]}); labels must be dense 0..K-1")
