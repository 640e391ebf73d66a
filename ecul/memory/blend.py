"""Blending of the cluster memories of both modalities (docs/method.md, "Blending across the modalities").

Shape legend: N images of a modality, M of the other one, D embedding size, K clusters (rows) of a modality, L of the
other one.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ecul.memory.segments import segment_means


@torch.no_grad()
def blend_memory(
    memory: Float[Tensor, "K D"],
    features: Float[Tensor, "M D"],
    labels: Int[Tensor, "M"],
    *,
    num_clusters: int,
    threshold: float,
    weight: float,
    one_to_one: bool,
) -> tuple[Float[Tensor, "K D"], int]:
    """A memory whose rows took in what the other modality's clusters hold of them.

    The score of a row for a cluster of the other modality is the mean of max(s - threshold, 0) over all images of the
    cluster, s being the cosine similarity of an image to the row. Each cluster chooses the row with the largest score,
    if that is above 0, and the row becomes `weight` of itself and the rest of the mean of those images of the cluster
    with s >= threshold. Clusters blend in the order of their numbers, several perhaps into one row.

    For both modalities, call it twice with the memories as they were before.

    Args:
        memory: unit rows of one modality; not changed.
        features: unit rows, images of the other modality.
        labels: their clusters, 0..num_clusters-1; -1 (noise) has no say.
        num_clusters: L, clusters of the other modality.
        threshold: similarity from which on an image counts, in [-1, 1].
        weight: of the old row, in [0, 1].
        one_to_one: each cluster chooses a row of its own, so that the sum of the scores is largest.

    Returns:
        A new tensor, and how many rows were changed. Rows are not normalised: a later update of the row does it.
    """
    if len(memory) == 0 or num_clusters == 0:
        return memory.clone(), 0
    similarity = (features @ memory.T).clamp(-1.0, 1.0)
    scores, _ = segment_means((similarity - threshold).clamp(min=0.0), labels, num_segments=num_clusters)
    row, chosen = _one_each(scores) if one_to_one else _best(scores)
    own = labels.clamp(min=0).long()
    near = similarity.gather(1, row[own][:, None]).squeeze(1) >= threshold
    counted = (labels >= 0) & near & chosen[own]
    means, _ = segment_means(features, torch.where(counted, own, -1), num_segments=num_clusters)
    blended, changed = memory.clone(), set[int]()
    # One after the other, because several clusters may meet in a row. It happens once an epoch.
    for cluster, target in zip(torch.nonzero(chosen).flatten().tolist(), row[chosen].tolist(), strict=True):
        blended[target] = weight * blended[target] + (1.0 - weight) * means[cluster]
        changed.add(target)
    return blended, len(changed)


def _best(scores: Float[Tensor, "L K"]) -> tuple[Int[Tensor, "L"], Bool[Tensor, "L"]]:
    """The row with the largest score for each cluster, and whether that is above 0."""
    largest, row = scores.max(dim=1)
    return row, largest > 0


def _one_each(scores: Float[Tensor, "L K"]) -> tuple[Int[Tensor, "L"], Bool[Tensor, "L"]]:
    """The same with no row twice, the sum of the scores being largest; clusters that outnumber the rows get none."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    clusters, rows = map(torch.from_numpy, linear_sum_assignment(scores.double().cpu().numpy(), maximize=True))
    row = torch.zeros(len(scores), dtype=torch.long)
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    row[clusters] = rows
    chosen[clusters] = (scores.cpu()[clusters, rows]) > 0
    return row.to(scores.device), chosen.to(scores.device)
