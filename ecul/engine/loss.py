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
from ecul.losses.contrastive import cluster_contrast, instance_contrast, nt_xent

# Kinds of terms that are also reported as the sum of their two sides.
SUMMED_KINDS = ("united", "instance")

Network = Callable[[Tensor, Tensor], Tensor]
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

    The average of the loss over the ranks is the loss of the global batch.
    """
    embeddings = network(batch.visible, batch.infrared).float()
    terms = _loss_terms(_split(embeddings, batch), memories, config)
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
    weights = {"intra": 1.0, "united": config.united_weight, "instance": config.instance_weight}
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


def _loss_terms(sides: Mapping[str, _Side], memories: Memories, config: LossConfig) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = {}
    intra, united = memories.intra_label, memories.united_label
    for name, side in sides.items():
        memory = memories.visible if name == "visible" else memories.infrared
        values = cluster_contrast(side.embeddings, memory, intra[side.positions], temperature=config.temperature)
        terms[f"intra_{name}"] = side.mean(values, intra >= 0)
        if memories.united is not None:
            labels = united[side.positions]
            values = cluster_contrast(side.embeddings, memories.united, labels, temperature=config.temperature)
            terms[f"united_{name}"] = side.mean(values, united >= 0)
        if memories.instances is not None and memories.positives is not None:
            values = _instance_values(side, memories.instances, memories.positives, memories, config)
            terms[f"instance_{name}"] = side.mean(values, memories.positives[:, 0] >= 0)
    return terms


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
