"""Proposals by blocked products and top-k in torch, on a GPU where there is one."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ecul.clustering.search.arithmetic import BF16, FLOAT32, TF32, Arithmetic
from ecul.clustering.search.exact import Proposals
from ecul.clustering.search.faiss_index import empty_proposals, enter_best, library_threads
from ecul.clustering.search.lists import NeighborSpec, target_sets
from ecul.types import FloatArray

BLOCK_ROWS = 4096
BLOCK_BYTES = 2**31
TF32_MASK = -(2**13)
"""Keeps the upper 10 of a float32's 23 bits of mantissa."""
PRECISIONS = {arithmetic.name: arithmetic for arithmetic in (FLOAT32, TF32, BF16)}


def torch_backend(
    device: str | None = None, precision: str | None = None, *, num_threads: int | None = None
) -> tuple[Callable[[FloatArray, Sequence[NeighborSpec]], list[Proposals]], Arithmetic]:
    """The proposing function and what it computes in.

    Args:
        device: where to compute; None for CUDA where there is one, else the CPU.
        precision: `float32`, `tf32` or `bf16`; None for tf32 on CUDA, whose tensor cores multiply it, and float32 on a
            CPU, which only emulates tf32.
        num_threads: threads to use on a CPU; None for all processors.
    """
    place, arithmetic = _chosen(device, precision)

    def propose(features: FloatArray, specs: Sequence[NeighborSpec]) -> list[Proposals]:
        bank = _prepared(torch.from_numpy(features).to(place), arithmetic)  # crosses the bus once
        threads = library_threads(torch.get_num_threads, torch.set_num_threads, num_threads)
        with _precision(arithmetic, place), threads:
            return [_proposals(bank, spec, arithmetic.spare) for spec in specs]

    return propose, arithmetic


def bare_products(features: FloatArray, device: str | None = None, precision: str | None = None) -> None:
    """Multiplies all pairs in blocks as the backend does, and keeps nothing: no search by products is faster.

    Args:
        features: float32 (N, D).
        device: as in `torch_backend`.
        precision: as in `torch_backend`.
    """
    place, arithmetic = _chosen(device, precision)
    bank = _prepared(torch.from_numpy(features).to(place), arithmetic)
    block = _block_rows(len(bank))
    with _precision(arithmetic, place):
        for first in range(0, len(bank), block):
            product = bank[first : first + block] @ bank.T
            if first + block >= len(bank):
                product[-1, -1].item()  # waits for the device


def _chosen(device: str | None, precision: str | None) -> tuple[torch.device, Arithmetic]:
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return place, PRECISIONS[precision or ("tf32" if place.type == "cuda" else "float32")]


def _block_rows(num_columns: int) -> int:
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // (8 * num_columns)))


def _prepared(bank: Tensor, arithmetic: Arithmetic) -> Tensor:
    """The features as the products take them; a CPU does by hand what tensor cores do to TF32 inputs."""
    if arithmetic is BF16:
        return bank.bfloat16()
    if arithmetic is TF32 and bank.device.type == "cpu":
        return (bank.view(torch.int32) & TF32_MASK).view(torch.float32)
    return bank


@contextlib.contextmanager
def _precision(arithmetic: Arithmetic, device: torch.device) -> Iterator[None]:
    """Lets products use TF32 only where asked, and never sum in bfloat16, which would break the bound."""
    before = torch.get_float32_matmul_precision()
    reduced = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("high" if arithmetic is TF32 and device.type == "cuda" else "highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced


def _proposals(bank: Tensor, spec: NeighborSpec, spare: int) -> Proposals:
    proposals = empty_proposals(len(bank), spec, spare)
    for target in target_sets(spec):
        columns = bank[torch.from_numpy(target.columns).to(bank.device)]
        width = min(proposals.index.shape[2], len(columns))
        block = _block_rows(len(columns))
        for number, images in target.queries:
            for first in range(0, len(images), block):
                rows = images[first : first + block]
                similarity = bank[torch.from_numpy(rows).to(bank.device)] @ columns.T
                best = similarity.topk(width, dim=1)
                enter_best(
                    proposals, target, rows, number, best.values.float().cpu().numpy(), best.indices.cpu().numpy()
                )
    return proposals
