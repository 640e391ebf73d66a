"""Contrastive losses as per-sample values; nothing is reduced here (docs/method.md, "Losses").

Shape legend: B anchors, D embedding size, K clusters, N bank rows, M positive slots.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SMALLEST_SHARE = 1e-6  # as in the public code; it bounds the loss and the gradient of an anchor far from its cluster


def cluster_contrast(
    embeddings: Float[Tensor, "B D"], memory: Float[Tensor, "K D"], labels: Int[Tensor, "B"], *, temperature: float
) -> Float[Tensor, "B"]:
    """Cross-entropy of every anchor against all memory rows (ClusterNCE), CE(f M^T / temperature, label).

    Args:
        embeddings: unit rows.
        memory: unit rows; receives no gradient.
        labels: memory row of each anchor; -1 gives value and gradient 0.
        temperature: above 0.

    Returns:
        Values of at least 0; all 0 for a memory without rows.
    """
    if len(memory) == 0:
        return _zeros_like_rows(embeddings)
    logits = _similarity(embeddings, memory.detach()) / temperature
    return F.cross_entropy(logits, labels.long(), ignore_index=-1, reduction="none")


def instance_contrast(
    embeddings: Float[Tensor, "B D"],
    bank: Float[Tensor, "N D"],
    positives: Int[Tensor, "B M"],
    bank_modality: Int[Tensor, "N"],
    anchor_modality: Int[Tensor, "B"],
    bank_united_label: Int[Tensor, "N"],
    anchor_united_label: Int[Tensor, "B"],
    *,
    temperature: float,
    num_negatives: int,
) -> Float[Tensor, "B"]:
    """Mean over the selected positives of -log(their share of positives plus hardest negatives).

    Negatives are the most similar bank rows of the other modality outside the anchor's positives and outside its
    united cluster (ECUL, inter-modality instance selection). Costs B x N similarities.

    Args:
        embeddings: unit rows.
        bank: unit rows of all training images; receives no gradient.
        positives: bank rows selected for each anchor, without repeats, padded with -1.
        bank_modality: values of `Modality`.
        anchor_modality: the same for the anchors.
        bank_united_label: united cluster of each bank row; -1 belongs to no cluster.
        anchor_united_label: the same for the anchors.
        temperature: above 0.
        num_negatives: how many at most, at least 0.

    Returns:
        Values of at least 0; value and gradient 0 for anchors without positives.
    """
    if positives.shape[1] == 0 or len(bank) == 0:
        return _zeros_like_rows(embeddings)
    similarity = _similarity(embeddings, bank.detach())
    positives = positives.long()
    valid = positives >= 0
    with torch.no_grad():
        same_cluster = (bank_united_label[None, :] == anchor_united_label[:, None]) & (anchor_united_label >= 0)[
            :, None
        ]
        candidate = (bank_modality[None, :] != anchor_modality[:, None]) & ~same_cluster
        candidate &= ~_selected_mask(positives, num_rows=len(bank))
        negatives, usable = _hardest(similarity.detach(), candidate, num_negatives)
    floor = torch.finfo(similarity.dtype).min
    positive_logits = (similarity.gather(1, positives.clamp(min=0)) / temperature).masked_fill(~valid, floor)
    negative_logits = (similarity.gather(1, negatives) / temperature).masked_fill(~usable, floor)
    normaliser = torch.logsumexp(torch.cat([positive_logits, negative_logits], dim=1), dim=1, keepdim=True)
    losses = torch.where(valid, normaliser - positive_logits, 0.0)
    return losses.sum(dim=1) / valid.sum(dim=1).clamp(min=1)


def bank_contrast(
    embeddings: Float[Tensor, "B D"],
    bank: Float[Tensor, "N D"],
    index: Int[Tensor, "B"],
    bank_label: Int[Tensor, "N"],
    among: Bool[Tensor, "N"],
    *,
    temperature: float,
) -> Float[Tensor, "B"]:
    """-log(share of the anchor's own cluster in all bank rows + 1e-6), shares being softmaxes of f.b / temperature.

    The rows of the anchor's cluster are its own, and the row of its image always is: an image in no cluster is a class
    of one (MPJL, instance-level memory, as SpCL's hybrid memory without the mean). Costs B x N similarities.

    Args:
        embeddings: unit rows.
        bank: unit rows of all training images; receives no gradient.
        index: bank row of each anchor's image.
        bank_label: cluster of each bank row; -1 is noise.
        among: which bank rows count; those of the anchors must.
        temperature: above 0.

    Returns:
        Values of at least -1e-6, at most -log(1e-6).
    """
    if len(bank) == 0:
        return _zeros_like_rows(embeddings)
    logits = _similarity(embeddings, bank.detach()) / temperature
    label = bank_label[index]
    rows = torch.arange(len(bank), device=bank.device)
    own = (bank_label[None, :] == label[:, None]) & (label >= 0)[:, None] | (rows[None, :] == index[:, None])
    floor = torch.finfo(logits.dtype).min
    everything = torch.logsumexp(logits.masked_fill(~among[None, :], floor), dim=1)
    positive = torch.logsumexp(logits.masked_fill(~(own & among[None, :]), floor), dim=1)
    return -torch.log(torch.exp(positive - everything) + _SMALLEST_SHARE)


def nt_xent(first: Float[Tensor, "B D"], second: Float[Tensor, "B D"], *, temperature: float) -> Float[Tensor, "B"]:
    """Instance discrimination between two views (Chen et al. 2020, SimCLR, equation 1), mean of both directions.

    Args:
        first: unit rows of one view.
        second: unit rows of the other view, same images in the same order.
        temperature: above 0.

    Returns:
        Values of at least 0; 0 for a batch of one image, which has no negatives.
    """
    views = torch.cat([first, second])
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    logits = (_similarity(views, views) / temperature).masked_fill(itself, float("-inf"))
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    losses = F.cross_entropy(logits, partner, reduction="none")
    return (losses[: len(first)] + losses[len(first) :]) / 2


def _similarity(rows: Tensor, columns: Tensor) -> Tensor:
    """Inner products in single precision at least: a temperature of 0.05 would magnify the error of half precision."""
    dtype = torch.promote_types(torch.promote_types(rows.dtype, columns.dtype), torch.float32)
    with torch.autocast(rows.device.type, enabled=False):
        return rows.to(dtype) @ columns.to(dtype).T


def _zeros_like_rows(embeddings: Tensor) -> Tensor:
    """One zero a row that still hangs on the graph, so that `backward` works when nothing else does."""
    return embeddings[:, :0].sum(dim=1)


def _selected_mask(positives: Tensor, *, num_rows: int) -> Tensor:
    """Bool (B, num_rows), true at each anchor's positives; padding falls into a column that is cut off."""
    mask = torch.zeros(len(positives), num_rows + 1, dtype=torch.bool, device=positives.device)
    mask.scatter_(1, torch.where(positives < 0, num_rows, positives), True)
    return mask[:, :num_rows]


def _hardest(similarity: Tensor, candidate: Tensor, num_negatives: int) -> tuple[Tensor, Tensor]:
    """Columns of each row's most similar candidates, and which of them are candidates at all."""
    masked = similarity.masked_fill(~candidate, float("-inf"))
    values, columns = masked.topk(min(num_negatives, similarity.shape[1]), dim=1)
    return columns, torch.isfinite(values)
