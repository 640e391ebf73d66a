"""One optimisation step: embeddings, losses, optimizer, memory update (method sections 3, 5 and 6).

Shape legend: V views of n visible images, n infrared images of this rank; B global images of a modality; D embedding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.config import LossConfig
from ecul.losses.combine import total, weighted_mean
from ecul.losses.contrastive import cluster_contrast, instance_contrast
from ecul.memory.schedule import TwoStepSchedule
from ecul.memory.update import update_memory


@dataclass
class Memories:
    """The proxies of an epoch; rows are unit vectors. `united`, `bank` and `positives` are None in stage 1.

    Attributes:
        visible: (K_v, D), clusters of the visible images.
        infrared: (K_i, D), clusters of the infrared images.
        united: (K, D), clusters over both modalities.
        bank: (N, D), an embedding of each training image.
        positives: int64 (N, M), selected images of the other modality, -1 padded.
        modality: int64 (N,).
        intra_label: int64 (N,).
        united_label: int64 (N,), -1 where there is none.
    """

    visible: Tensor
    infrared: Tensor
    united: Tensor | None
    bank: Tensor | None
    positives: Tensor | None
    modality: Tensor
    intra_label: Tensor
    united_label: Tensor


@dataclass(frozen=True)
class StepBatch:
    """One rank's images, augmented, and where they and the whole global batch stand in the training index.

    Attributes:
        visible: normalised images, the two views one after the other (2n, 3, H, W).
        infrared: (n, 3, H, W).
        visible_positions: int64 (B,), the global batch's.
        infrared_positions: int64 (B,).
        part: this rank's slice of them.
    """

    visible: Tensor
    infrared: Tensor
    visible_positions: NDArray[np.int64]
    infrared_positions: NDArray[np.int64]
    part: slice


@dataclass(frozen=True)
class _Side:
    """One modality's part of a step.

    Attributes:
        embeddings: this rank's, with gradient.
        positions: int64, their images' positions.
        everywhere: int64 (B,), positions of the global batch.
    """

    embeddings: Tensor
    positions: Tensor
    everywhere: Tensor

    def mean(self, values: Tensor, counted: Tensor) -> Tensor:
        """Mean over the global batch's counted images; this rank's share, scaled so that the ranks' average is it."""
        num_views = len(self.positions) * runtime.world_size() // len(self.everywhere)
        count = counted[self.everywhere].sum().clamp(min=1) * num_views
        return weighted_mean(values, counted[self.positions], count=1) / count * runtime.world_size()


def _split(embeddings: Float[Tensor, "S D"], batch: StepBatch) -> dict[str, _Side]:
    num_visible = len(batch.visible)
    parts = {
        "visible": (embeddings[:num_visible], batch.visible_positions, 2),
        "infrared": (embeddings[num_visible:], batch.infrared_positions, 1),
    }
    sides: dict[str, _Side] = {}
    for name, (rows, global_positions, num_views) in parts.items():
        everywhere = torch.from_numpy(global_positions).to(embeddings.device, non_blocking=True)
        sides[name] = _Side(rows, everywhere[batch.part].repeat(num_views), everywhere)
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
        if memories.bank is not None and memories.positives is not None:
            values = _instance_values(side, memories.bank, memories.positives, memories, config)
            terms[f"instance_{name}"] = side.mean(values, memories.positives[:, 0] >= 0)
    return terms


def _instance_values(side: _Side, bank: Tensor, positives: Tensor, memories: Memories, config: LossConfig) -> Tensor:
    return instance_contrast(
        side.embeddings,
        bank,
        positives[side.positions],
        memories.modality,
        memories.modality[side.positions],
        memories.united_label,
        memories.united_label[side.positions],
        temperature=config.temperature,
        num_negatives=config.num_negatives,
    )


def loss_weights(config: LossConfig) -> dict[str, float]:
    """Weight of each term in the total."""
    weights = {"intra": 1.0, "united": config.united_weight, "instance": config.instance_weight}
    return {f"{kind}_{side}": weight for kind, weight in weights.items() for side in ("visible", "infrared")}


def compute_loss(
    network: Callable[[Tensor, Tensor], Tensor], batch: StepBatch, memories: Memories, config: LossConfig
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Returns the loss to minimise, its terms by name and the embeddings (visible views first), both detached."""
    embeddings = network(batch.visible, batch.infrared).float()
    terms = _loss_terms(_split(embeddings, batch), memories, config)
    loss = total(terms, loss_weights(config))
    detached = {name: value.detach() for name, value in terms.items()}
    return loss, detached | {"total": loss.detach()}, embeddings.detach()


@torch.no_grad()
def update_memories(
    memories: Memories,
    embeddings: Float[Tensor, "S D"],
    batch: StepBatch,
    *,
    intra: TwoStepSchedule,
    united: TwoStepSchedule,
    epoch: int,
    key: tuple[int, ...],
) -> None:
    """Moves every memory by the global batch (TSMem); `key` seeds the choice of instances, equal on all ranks."""
    local = len(batch.infrared)
    views = runtime.gather_rows(embeddings.view(3, local, -1), dim=1)
    visible_rows, infrared_rows = views[:2].flatten(0, 1), views[2]
    device = embeddings.device
    visible = torch.from_numpy(batch.visible_positions).to(device, non_blocking=True).repeat(2)
    infrared = torch.from_numpy(batch.infrared_positions).to(device, non_blocking=True)
    rule, momentum = intra.at(epoch)
    options = {"rule": rule, "momentum": momentum, "generator": runtime.torch_generator(*key)}
    memories.visible = update_memory(memories.visible, visible_rows, memories.intra_label[visible], **options)
    memories.infrared = update_memory(memories.infrared, infrared_rows, memories.intra_label[infrared], **options)
    if memories.united is None:
        return
    rule, momentum = united.at(epoch)
    options |= {"rule": rule, "momentum": momentum}
    positions = torch.cat([visible, infrared])
    rows = torch.cat([visible_rows, infrared_rows])
    memories.united = update_memory(
        memories.united,
        rows,
        memories.united_label[positions],
        modality=memories.modality[positions] if rule == "mean" else None,
        **options,
    )
    if memories.bank is not None:
        options |= {"rule": "mean", "momentum": united.second_momentum}
        memories.bank = update_memory(memories.bank, rows, positions, **options)
