"""Exact neighbour lists by blocked top-k in torch, on a GPU where there is one."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ecul.clustering.search.lists import NeighborLists, NeighborSpec
from ecul.types import FloatArray

BLOCK_ROWS = 2048
BLOCK_BYTES = 2**31


def search_torch(
    features: FloatArray, spec: NeighborSpec, *, device: str | None = None, block_rows: int | None = None
) -> NeighborLists:
    """Lists of all images, by (distance, index), the image itself first. float32 products; TF32 stays off.

    Args:
        features: float32 (N, D), unit rows.
        spec: the lists wanted.
        device: where to compute; None for CUDA where there is one, else the CPU.
        block_rows: images at a time; None for as many as fit about 2 GiB of distances.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    bank = torch.from_numpy(features).to(place)
    group, slot = torch.from_numpy(spec.group).to(place).long(), torch.from_numpy(spec.slot).to(place)
    num_images = len(features)
    rows = block_rows or max(1, min(BLOCK_ROWS, BLOCK_BYTES // (24 * max(num_images, 1))))
    shape = (num_images, spec.num_slots, spec.depth)
    lists = NeighborLists(np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32))
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        for start in range(0, num_images, rows):
            keys = _keys(bank, start, min(start + rows, num_images))
            owner = slot[group[start : start + rows]][:, group]
            for number in range(spec.num_slots):
                _store(lists, keys.masked_fill(owner != number, _FAR), number, start)
    finally:
        torch.set_float32_matmul_precision(precision)
    return lists


_FAR = torch.iinfo(torch.int64).max


def _keys(bank: Float[Tensor, "N D"], start: int, stop: int) -> Int[Tensor, "R N"]:
    """One integer a pair, ordered as (distance, index): the bits of a non-negative float order like the float."""
    distance = (2 - 2 * (bank[start:stop] @ bank.T)).clamp_min_(0)
    keys = (distance.view(torch.int32).long() + 1) << 32
    own = torch.arange(start, stop, device=bank.device)
    keys[own - start, own] = 0
    return keys + torch.arange(len(bank), device=bank.device)


def _store(lists: NeighborLists, keys: Int[Tensor, "R N"], number: int, start: int) -> None:
    """Writes the smallest keys of each row into list `number`."""
    depth = min(lists.index.shape[2], keys.shape[1])
    best = keys.topk(depth, dim=1, largest=False, sorted=True).values
    found = (best != _FAR).cpu().numpy()
    index = (best & 0xFFFFFFFF).to(torch.int32).cpu().numpy()
    distance = ((best >> 32) - 1).clamp_min(0).to(torch.int32).view(torch.float32).cpu().numpy()
    rows = slice(start, start + len(index))
    lists.index[rows, number, :depth] = np.where(found, index, -1)
    lists.distance[rows, number, :depth] = np.where(found, distance, np.inf)
