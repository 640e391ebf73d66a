"""The loss of a step as a mean over the global batch (docs/method.md, "Losses").

Shape legend: n images of a modality on this rank, B global images of a modality, S this rank's embeddings, D embedding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ecul import runtime
from ecul.config import LossConfig
from ecul.engine.memories import Memories, StepBatch
from ecul.losses.combine import masked_sum, total
from ecul.losses.contrastive import bank_contrast, cluster_contrast, instance_contrast, nt_xent
from ecul.types import Modality

# Kinds of terms that are also reported as the sum of their two sides.
SUMMED_KINDS = ("united", "instance", "bank_intra", "bank_united")

Network = Callable[..., Tensor]
Losses = tuple[Tensor, dict[str, Tensor], Tensor]


@dataclass(frozen=True)
class _Side:
    """One modality's part of a step.

    Attributes:
        embeddings: this rank's, with gradient.
        positions: int64, their images' positions in the training index.
        global_positions: int64 (B,), positions of the global batch.
    """

    embeddings: Tensor
    positions: Tensor
    global_positions: Tensor

    def mean(self, values: Tensor, counted: Tensor) -> Tensor:
        """Returns this rank's contribution to a mean over the global batch, scaled so that DDP's average is that mean.

        Args:
            values: one for each of this rank's embeddings.
            counted: bool (N,), which training images count.
        """
        # DDP averages the ranks' gradients, so each rank divides its sum by the global count and multiplies it by the
        # number of ranks. Dividing by the local count instead would weigh images by the rank that they are on.
        num_views = len(self.positions) * runtime.world_size() // len(self.global_positions)
        count = counted[self.global_positions].sum().clamp(min=1) * num_views
        return masked_sum(values, counted[self.positions]) / count * runtime.world_size()


def compute_loss(network: Network, batch: StepBatch, memories: Memories, config: LossConfig) -> Losses:
    """Returns the loss to minimise, its terms by name, and the embeddings (visible views first), both detached.

    The average of the loss over the ranks is the loss of the global batch. Where the united terms have a batch of their
    own, its embeddings come after the others.
    """
    # One call for both batches: a distributed network exchanges gradients once for each call.
    embeddings = network(*(images for part in batch.parts for images in (part.visible, part.infrared))).float()
    split = embeddings.split([len(part) for part in batch.parts])
    parts = [_split(rows, part) for rows, part in zip(split, batch.parts, strict=True)]
    terms = _intra_terms(parts[0], memories, config)
    if memories.united is not None:
        terms |= _united_terms(parts[-1], memories, memories.united, config)
    return _losses(total(terms, loss_weights(config)), terms, embeddings)


def bootstrap_loss(network: Network, batch: StepBatch, *, temperature: float) -> Losses:
    """Returns the same for stage 0: instance discrimination inside each modality, with the negatives of this rank."""
    embeddings = network(batch.visible, batch.infrared).float()
    parts = embeddings.chunk(4)
    visible = nt_xent(parts[0], parts[1], temperature=temperature).mean()
    infrared = nt_xent(parts[2], parts[3], temperature=temperature).mean()
    terms = {"bootstrap_visible": visible, "bootstrap_infrared": infrared}
    return _losses(visible + infrared, terms, embeddings)


def loss_weights(config: LossConfig) -> dict[str, float]:
    """Returns the weight of each term in the total."""
    weights = {
        "intra": 1.0,
        "united": config.united_weight,
        "instance": config.instance_weight,
        "bank_intra": config.bank.intra_weight,
        "bank_united": config.bank.united_weight,
    }
    return {f"{kind}_{side}": weight for kind, weight in weights.items() for side in ("visible", "infrared")}


def _losses(loss: Tensor, terms: Mapping[str, Tensor], embeddings: Tensor) -> Losses:
    detached = {name: value.detach() for name, value in terms.items()}
    return loss, detached | {"total": loss.detach()}, embeddings.detach()


def _split(embeddings: Float[Tensor, "S D"], batch: StepBatch) -> dict[str, _Side]:
    num_visible = len(batch.visible)
    parts = {
        "visible": (embeddings[:num_visible], batch.visible_positions, 2),
        "infrared": (embeddings[num_visible:], batch.infrared_positions, 1),
    }
    sides: dict[str, _Side] = {}
    for name, (rows, positions, num_views) in parts.items():
        global_positions = torch.from_numpy(positions).to(embeddings.device, non_blocking=True)
        sides[name] = _Side(rows, global_positions[batch.part].repeat(num_views), global_positions)
    return sides


def _intra_terms(sides: Mapping[str, _Side], memories: Memories, config: LossConfig) -> dict[str, Tensor]:
    """The terms inside each modality."""
    terms: dict[str, Tensor] = {}
    labels = memories.intra_label
    for name, side in sides.items():
        visible = name == "visible"
        memory = memories.visible if visible else memories.infrared
        values = cluster_contrast(side.embeddings, memory, labels[side.positions], temperature=config.temperature)
        terms[f"intra_{name}"] = side.mean(values, labels >= 0)
        if memories.bank_intra:
            among = memories.modality == (Modality.VISIBLE if visible else Modality.INFRARED)
            terms[f"bank_intra_{name}"] = _bank_mean(side, memories, labels, among, config)
    return terms


def _united_terms(
    sides: Mapping[str, _Side], memories: Memories, united: Tensor, config: LossConfig
) -> dict[str, Tensor]:
    """The terms over both modalities."""
    terms: dict[str, Tensor] = {}
    labels = memories.united_label
    for name, side in sides.items():
        values = cluster_contrast(side.embeddings, united, labels[side.positions], temperature=config.temperature)
        terms[f"united_{name}"] = side.mean(values, labels >= 0)
        if memories.instances is not None and memories.positives is not None:
            values = _instance_values(side, memories.instances, memories.positives, memories, config)
            terms[f"instance_{name}"] = side.mean(values, memories.positives[:, 0] >= 0)
        if memories.bank_united:
            everything = torch.ones_like(labels, dtype=torch.bool)
            terms[f"bank_united_{name}"] = _bank_mean(side, memories, labels, everything, config)
    return terms


def _bank_mean(side: _Side, memories: Memories, labels: Tensor, among: Tensor, config: LossConfig) -> Tensor:
    """Mean over all anchors: an image in no cluster is a class of its own, so each of them counts."""
    if memories.instances is None:
        raise ValueError("terms against the instance memory need one; build_memories makes it")
    values = bank_contrast(
        side.embeddings, memories.instances, side.positions, labels, among, temperature=config.temperature
    )
    return side.mean(values, torch.ones_like(among))


def _instance_values(
    side: _Side, instances: Tensor, positives: Tensor, memories: Memories, config: LossConfig
) -> Tensor:
    return instance_contrast(
        side.embeddings,
        instances,
        positives[side.positions],
        memories.modality,
        memories.modality[side.positions],
        memories.united_label,
        memories.united_label[side.positions],
        temperature=config.temperature,
        num_negatives=config.num_negatives,
    )
