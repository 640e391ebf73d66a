"""Images of planned batches, read ahead of the step that needs them."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from ecul.data.images import ImageStore
from ecul.data.samplers import BatchPlan

Loaded = tuple[BatchPlan, Tensor, Tensor]
"""A batch's plan, and this rank's visible and infrared uint8 images."""


def local_slice(size: int, *, rank: int, world_size: int) -> slice:
    """Rows of a global batch that belong to a rank: every `world_size`-th, dealt in turn.

    A plan lists cluster after cluster, so each rank gets a part of every cluster (docs/method.md, "An epoch, step by
    step"): batch statistics of its part are those of the same mix of clusters.

    Raises:
        ValueError: the batch does not divide evenly.
    """
    if size % world_size:
        raise ValueError(f"a batch of {size} images cannot be split over {world_size} workers; use a multiple")
    return slice(rank, size, world_size)


def load_batches(
    store: ImageStore, plans: Iterable[BatchPlan], *, rank: int, world_size: int, device: torch.device
) -> Iterator[list[Loaded]]:
    """Yields the one or two batches of each step with their images on the device, one step read ahead."""
    pinned = device.type == "cuda"

    def read_step(plan: BatchPlan) -> list[Loaded]:
        return [read(part) for part in plan.parts]

    def read(plan: BatchPlan) -> Loaded:
        part = local_slice(len(plan.visible), rank=rank, world_size=world_size)
        images = [store.get(positions[part]) for positions in (plan.visible, plan.infrared)]
        if pinned:
            images = [batch.pin_memory() for batch in images]
        return plan, images[0], images[1]

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        for step in _read_ahead(pool, read_step, plans):
            yield [
                (plan, visible.to(device, non_blocking=True), infrared.to(device, non_blocking=True))
                for plan, visible, infrared in step
            ]


def _read_ahead(
    pool: ThreadPoolExecutor, read: Callable[[BatchPlan], list[Loaded]], plans: Iterable[BatchPlan]
) -> Iterator[list[Loaded]]:
    pending: Future[list[Loaded]] | None = None
    for plan in plans:
        following = pool.submit(read, plan)
        if pending is not None:
            yield pending.result()
        pending = following
    if pending is not None:
        yield pending.result()
