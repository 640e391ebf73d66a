"""One explicit update of a cluster memory after an optimizer step (ECUL, TSMem; docs/method.md, "TSMem").

Shape legend: B embeddings of the global batch, D embedding size, K clusters.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ecul.memory.segments import modality_balanced_means, segment_means

_SMALLEST_NORM = 1e-12


def _random_key(memory: Tensor, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Distinct random keys, drawn on the CPU so that every device sees the same ones."""
    return torch.randperm(len(labels), generator=generator).to(labels.device)


def _similarity_to_row(memory: Tensor, embeddings: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    return (embeddings * memory[labels.clamp(min=0)]).sum(dim=1)


KEYS: dict[str, Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]] = {
    "random": _random_key,
    "hard": _similarity_to_row,
}
"""{rule: key of each embedding (B,)} for the rules that move a row to one instance: the one with the lowest key.

A key function gets memory, embeddings, labels (-1 is noise, whose keys are not used) and the generator."""
RULES = (*KEYS, "instance", "mean")
"""Names of all rules."""


@torch.no_grad()
def update_memory(
    memory: Float[Tensor, "K D"],
    embeddings: Float[Tensor, "B D"],
    labels: Int[Tensor, "B"],
    *,
    rule: str,
    momentum: float,
    generator: torch.Generator,
    modality: Int[Tensor, "B"] | None = None,
) -> Float[Tensor, "K D"]:
    """The memory after M_k <- normalise(momentum M_k + (1 - momentum) q_k); rows without a q_k keep their bits.

    Every rank calls this with the same gathered batch and a generator in the same state, hence gets the same memory
    for any number of workers. Only the rule `instance` makes the host wait for the device.

    Args:
        memory: unit rows; not changed.
        embeddings: unit rows of the whole batch, gathered in rank order.
        labels: row of `memory` each embedding belongs to; -1 is left out.
        rule: what q_k is: `random` one instance of the cluster, `hard` the instance least similar to the row,
            `instance` every instance in turn, `mean` the mean of the instances.
        momentum: weight of the old row, in [0, 1].
        generator: a CPU generator; `random` draws from it, the other rules leave it alone.
        modality: values of `Modality`; with it `mean` is the mean of the modality means (united memory).

    Returns:
        A new tensor, unit rows.

    Raises:
        ValueError: an unknown rule or a momentum outside [0, 1].
    """
    if rule not in RULES:
        raise ValueError(f"memory rule {rule!r} is unknown, expected one of {', '.join(RULES)}")
    if not 0.0 <= momentum <= 1.0:
        raise ValueError(f"memory momentum is {momentum}, expected a number in [0, 1]")
    num_clusters = len(memory)
    if num_clusters == 0 or len(embeddings) == 0:
        return memory.clone()
    embeddings = embeddings.detach().to(memory.dtype)
    labels = labels.long()
    # the rule "instance" depends on the order within the batch, which is equal on all ranks
    if rule == "instance":
        return _update_in_turn(memory, embeddings, labels, momentum)
    if rule == "mean":
        incoming, present = _batch_means(embeddings, labels, modality, num_clusters)
    else:
        key = KEYS[rule](memory, embeddings, labels, generator)
        incoming, present = _first_by(key, embeddings, labels, num_clusters)
    return _blend(memory, incoming, present, momentum)


def _blend(memory: Tensor, incoming: Tensor, present: Tensor, momentum: float) -> Tensor:
    """Rows mixed and normalised where `present`; a mix that cancels out keeps the old row."""
    mixed = momentum * memory + (1.0 - momentum) * incoming
    norm = mixed.norm(dim=1, keepdim=True)
    moved = present[:, None] & (norm > _SMALLEST_NORM)
    return torch.where(moved, mixed / norm.clamp(min=_SMALLEST_NORM), memory)


def _batch_means(
    embeddings: Tensor, labels: Tensor, modality: Tensor | None, num_clusters: int
) -> tuple[Tensor, Tensor]:
    if modality is None:
        means, counts = segment_means(embeddings, labels, num_segments=num_clusters)
    else:
        means, counts = modality_balanced_means(embeddings, labels, modality, num_segments=num_clusters)
    return means, counts > 0


def _first_by(key: Tensor, embeddings: Tensor, labels: Tensor, num_clusters: int) -> tuple[Tensor, Tensor]:
    """For every cluster the embedding with the lowest key (ties: the earliest), and whether it has any."""
    # two scatter-minima instead of a loop over clusters: first each cluster's lowest key, then the first position that
    # has it, so that ties do not depend on the device. Noise (-1) gets a slot of its own, which is dropped.
    position = torch.arange(len(labels), device=labels.device)
    slot = torch.where(labels < 0, num_clusters, labels)
    lowest = _scatter_min(key, slot, num_clusters + 1)
    candidate = torch.where(key == lowest[slot], position, len(labels))
    chosen = _scatter_min(candidate, slot, num_clusters + 1, start=len(labels))[:num_clusters]
    return embeddings[chosen.clamp(max=len(labels) - 1)], chosen < len(labels)


def _scatter_min(values: Tensor, slot: Tensor, num_slots: int, *, start: int | None = None) -> Tensor:
    """The lowest value of every slot, `start` (or zero) where a slot has none."""
    result = torch.full((num_slots,), 0 if start is None else start, dtype=values.dtype, device=values.device)
    return result.scatter_reduce_(0, slot, values, "amin", include_self=start is not None)


def _update_in_turn(memory: Tensor, embeddings: Tensor, labels: Tensor, momentum: float) -> Tensor:
    """The n-th instances of all clusters together, for n = 0, 1, ...; B x B comparisons give n."""
    # instances of one cluster must follow each other, those of different clusters need not: one pass a turn
    earlier = (labels[:, None] == labels[None, :]).tril(diagonal=-1)
    turn = torch.where(labels < 0, -1, earlier.sum(dim=1))
    updated = memory.clone()
    for step in range(int(turn.max()) + 1):
        now = turn == step
        rows = labels[now]  # without repeats
        present = torch.ones_like(rows, dtype=torch.bool)
        updated[rows] = _blend(updated[rows], embeddings[now], present, momentum)
    return updated
