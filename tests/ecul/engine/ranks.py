"""Steps of a tiny network on hand-made batches, in one process or as one rank of several.

`python -m tests.ecul.engine.ranks RANK WORLD_SIZE STORE RESULT` runs one rank and saves what it computed.
"""

import os
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ecul import runtime
from ecul.config import Config
from ecul.data.batches import local_slice
from ecul.engine.memories import Memories, StepBatch, UpdateRules
from ecul.engine.step import FiniteWatch, take_step
from ecul.models.backbone import build_model

NUM_IMAGES, BATCH, SIZE, DIMENSION = 12, 4, 5, 3
STEPS = 3
LOSS = {"temperature": 0.5, "num_negatives": 2, "bank": {"intra_weight": 0.7, "united_weight": 0.3}}
RULES = ("random", "hard", "instance", "mean", "own_random", "own_mean")


class Network(nn.Module):
    """A linear map to unit vectors in place of the two-stream network."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIZE, DIMENSION)

    def forward(self, *images: Tensor) -> Tensor:
        return F.normalize(self.linear(torch.cat(images)))


def unit(rows: int, generator: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(rows, DIMENSION, generator=generator))


def memories(rule: str, *, bank: bool = False) -> Memories:
    """Six visible and six infrared images; noise and images without positives stand unevenly in the batches."""
    generator = torch.Generator().manual_seed(1)
    return Memories(
        visible=unit(2, generator),
        infrared=unit(2, generator),
        united=unit(3, generator),
        instances=unit(NUM_IMAGES, generator),
        positives=torch.tensor([[6], [-1], [7], [-1], [8], [-1], [0], [2], [4], [-1], [-1], [-1]]),
        modality=torch.tensor([0] * 6 + [1] * 6),
        intra_label=torch.tensor([0, -1, 1, -1, 0, 1, 0, 1, -1, -1, 1, 0]),
        united_label=torch.tensor([0, -1, -1, -1, 1, 2, 0, 1, 2, -1, -1, 0]),
        rules=UpdateRules(intra=(rule, 0.2), united=(rule, 0.3), instances=(rule if bank else "mean", 0.4)),
        bank_intra=bank,
        bank_united=bank,
    )


def batch(step: int, part: slice, *, own: bool = False) -> StepBatch:
    """This rank's part of a step's global batch of four visible and four infrared images; `own`: of two batches."""
    generator = torch.Generator().manual_seed(10 + step)
    positions = [torch.randperm(6, generator=generator)[:BATCH] + first for first in (0, 6)]
    views = torch.randn(3, BATCH, SIZE, generator=generator)[:, part]
    return StepBatch(
        visible=views[:2].flatten(0, 1),
        infrared=views[2],
        visible_positions=positions[0].numpy(),
        infrared_positions=positions[1].numpy(),
        part=part,
        united=batch(step + 100, part) if own else None,
    )


def train(rule: str) -> dict[str, Any]:
    """Takes some steps and returns weights, memories and the loss terms, averaged over the ranks.

    Args:
        rule: of the memories; `own_RULE` adds a second batch for the united terms, and those against all instances.
    """
    own = rule.startswith("own_")
    rule = rule.removeprefix("own_")
    torch.manual_seed(0)
    network: nn.Module = Network()
    if runtime.world_size() > 1:
        network = DistributedDataParallel(network)
    config = Config.model_validate({"data": {"root": "x"}, "loss": LOSS})
    session: Any = SimpleNamespace(config=config, device=torch.device("cpu"), network=network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    part = local_slice(BATCH, rank=runtime.rank(), world_size=runtime.world_size())
    proxies, losses = memories(rule, bank=own), []
    for step in range(1, STEPS + 1):
        terms = take_step(session, optimizer, batch(step, part, own=own), proxies, (0, 1, step), FiniteWatch(1))
        stacked = torch.stack([terms[name] for name in sorted(terms)])
        losses.append(runtime.gather_rows(stacked[None]).mean(dim=0))
    names = ("visible", "infrared", "united", "instances")
    weights = {name.removeprefix("module."): value for name, value in network.state_dict().items()}
    return {"loss": torch.stack(losses)} | weights | {name: getattr(proxies, name) for name in names}


def two_passes() -> dict[str, Any]:
    """One backward pass through two forward passes of a real network with batch normalisation, distributed or not."""
    torch.manual_seed(0)
    network: nn.Module = build_model("small")
    if runtime.world_size() > 1:
        network = DistributedDataParallel(network)
    images = torch.randn(4, 3, 3, 32, 16, generator=torch.Generator().manual_seed(runtime.rank())).unbind()
    network(*images).sum().backward()
    return {name.removeprefix("module."): value.grad for name, value in network.named_parameters()}


def as_rank(rank: int, world_size: int, store: str) -> dict[str, dict[str, Any]]:
    """Joins a process group and returns what this rank computes by each rule."""
    options = {"rank": rank, "world_size": world_size, "timeout": timedelta(seconds=100)}
    dist.init_process_group("gloo", init_method=f"file://{store}", **options)
    try:
        return {rule: train(rule) for rule in RULES} | {"small": two_passes()}
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.save(as_rank(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]), sys.argv[4])
    os._exit(0)  # gloo's threads may outlive the group, and the interpreter's end would then abort the process
