"""Sums and counts per cluster, in a fixed order of additions on every device.

Shape legend: B rows, D embedding size, S segments.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def segment_means(
    rows: Float[Tensor, "B D"], segment: Int[Tensor, "B"], *, num_segments: int
) -> tuple[Float[Tensor, "S D"], Int[Tensor, "S"]]:
    """The mean row and the number of rows of every segment; rows of segment -1 are left out.

    The rows are sorted by segment and each segment is summed in row order, so that equal input gives equal bits
    (an `index_add` on a GPU does not). Nothing here makes the host wait for the device.

    Args:
        rows: any rows.
        segment: segment number of each row in 0..num_segments-1, or -1.
        num_segments: S, at least 0.

    Returns:
        The means, zero where a segment has no row, and the counts (int64).
    """
    slot = torch.where(segment < 0, num_segments, segment).long()
    counts = torch.zeros(num_segments + 1, dtype=torch.long, device=rows.device)
    counts.scatter_add_(0, slot, torch.ones_like(slot))
    if len(rows) == 0:
        return rows.new_zeros(num_segments, rows.shape[1]), counts[:num_segments]
    in_order = rows[torch.argsort(slot, stable=True)]
    sums = torch.segment_reduce(in_order, "sum", lengths=counts, axis=0, unsafe=True)[:num_segments]
    counts = counts[:num_segments]
    return sums / counts.clamp(min=1)[:, None], counts


def modality_balanced_means(
    rows: Float[Tensor, "B D"], segment: Int[Tensor, "B"], modality: Int[Tensor, "B"], *, num_segments: int
) -> tuple[Float[Tensor, "S D"], Int[Tensor, "S"]]:
    """As `segment_means`, but the mean of a segment's two modality means; one modality absent: the other alone."""
    paired = torch.where(segment < 0, -1, 2 * segment + modality)
    means, counts = segment_means(rows, paired, num_segments=2 * num_segments)
    counts = counts.view(num_segments, 2)
    present = (counts > 0).sum(dim=1).clamp(min=1)
    return means.view(num_segments, 2, rows.shape[1]).sum(dim=1) / present[:, None], counts.sum(dim=1)
