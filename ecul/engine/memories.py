"""The cluster memories of an epoch: built at its start, moved after every step (docs/method.md, "TSMem").

Shape legend: N training images, D embedding size, B global images of a modality, n images of this rank, S this rank's
embeddings (two views of n visible images, then n infrared images).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.config import MemoryConfig
from ecul.memory.centroids import cluster_means, united_means
from ecul.memory.update import update_memory
from ecul.types import ClusteringResult, Modality


@dataclass(frozen=True)
class UpdateRules:
    """How the memories move in one epoch.

    Attributes:
        intra: rule and momentum of the two memories of one modality.
        united: rule and momentum of the united memory.
        instance_momentum: momentum of the instance memory, whose rule is always `mean`.
    """

    intra: tuple[str, float]
    united: tuple[str, float]
    instance_momentum: float


@dataclass
class Memories:
    """The proxies of an epoch; rows are unit vectors. `united`, `instances` and `positives` are None in stage 1.

    Attributes:
        visible: (K_v, D), clusters of the visible images.
        infrared: (K_i, D), clusters of the infrared images.
        united: (K, D), clusters over both modalities.
        instances: (N, D), an embedding of each training image.
        positives: int64 (N, M), selected images of the other modality, -1 padded.
        modality: int64 (N,), values of `Modality`.
        intra_label: int64 (N,), cluster within the image's modality, -1 noise.
        united_label: int64 (N,), -1 where there is none.
        rules: how the memories move in this epoch.
    """

    visible: Tensor
    infrared: Tensor
    united: Tensor | None
    instances: Tensor | None
    positives: Tensor | None
    modality: Tensor
    intra_label: Tensor
    united_label: Tensor
    rules: UpdateRules


@dataclass(frozen=True)
class StepBatch:
    """One rank's augmented images, and which training images they and the whole global batch are.

    Attributes:
        visible: normalised images, the two views one after the other (2n, 3, H, W).
        infrared: (n, 3, H, W); in stage 0 two views (2n, 3, H, W).
        visible_positions: int64 (B,), positions of the global batch's images in the training index.
        infrared_positions: int64 (B,).
        part: this rank's slice of them.
    """

    visible: Tensor
    infrared: Tensor
    visible_positions: NDArray[np.int64]
    infrared_positions: NDArray[np.int64]
    part: slice


def update_rules(config: MemoryConfig, epoch: int) -> UpdateRules:
    """Returns the rules of an epoch, counted from 1 over the whole run."""
    return UpdateRules(
        intra=config.intra.at(epoch),
        united=config.united.at(epoch),
        instance_momentum=config.united.second_momentum,
    )


def build_memories(
    features: Float[Tensor, "N D"], modality: NDArray[np.int32], labels: ClusteringResult, rules: UpdateRules
) -> Memories:
    """Returns the memories at the start of an epoch: normalised cluster means (docs/method.md).

    Args:
        features: unit rows, on the device where the memories shall be.
        modality: int32 (N,), values of `Modality`.
        labels: pseudo-labels of the same images.
        rules: of the epoch.
    """
    device = features.device
    modality_index = _index(modality, device)
    intra_label = _index(labels.intra_label, device)
    visible, infrared = (
        cluster_means(features[side], intra_label[side], num_clusters=count)
        for side, count in (
            (modality_index == Modality.VISIBLE, labels.num_visible_clusters),
            (modality_index == Modality.INFRARED, labels.num_infrared_clusters),
        )
    )
    united, positives = None, None
    united_label = torch.full_like(intra_label, -1)
    if labels.united_label is not None:
        united_label = _index(labels.united_label, device)
        united = united_means(features, united_label, modality_index, num_clusters=labels.num_united_clusters)
    if labels.selected_pairs is not None and len(labels.selected_pairs):
        positives = torch.from_numpy(positive_table(labels.selected_pairs, len(features))).to(device)
    return Memories(
        visible=visible,
        infrared=infrared,
        united=united,
        instances=features if positives is not None else None,
        positives=positives,
        modality=modality_index,
        intra_label=intra_label,
        united_label=united_label,
        rules=rules,
    )


def _index(values: NDArray[np.int32], device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.int64)).to(device)


def positive_table(pairs: NDArray[np.int32], num_images: int) -> NDArray[np.int64]:
    """Returns int64 (N, M), the selected images of each image in both directions, -1 padded."""
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    counts = np.bincount(both[:, 0], minlength=num_images)
    column = np.arange(len(both)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((num_images, counts.max()), -1, np.int64)
    table[both[:, 0], column] = both[:, 1]
    return table


@torch.no_grad()
def update_memories(
    memories: Memories, embeddings: Float[Tensor, "S D"], batch: StepBatch, *, key: tuple[int, ...]
) -> None:
    """Moves every memory by the global batch, by the epoch's rules.

    Args:
        memories: changed in place; equal on all ranks before and after.
        embeddings: this rank's, visible views first.
        batch: the step's.
        key: seeds the choice of instances; equal on all ranks.
    """
    # Each rank holds n rows of every view. Gathering along the second axis keeps a view's rows together and in the
    # order of the global batch, so that the result does not depend on the number of ranks.
    views = runtime.gather_rows(embeddings.view(3, len(batch.infrared), -1), dim=1)
    visible_rows, infrared_rows = views[:2].flatten(0, 1), views[2]
    device = embeddings.device
    visible = torch.from_numpy(batch.visible_positions).to(device, non_blocking=True).repeat(2)
    infrared = torch.from_numpy(batch.infrared_positions).to(device, non_blocking=True)
    # One generator for all memories: the order of the updates below is part of what a seed means.
    generator = runtime.torch_generator(*key)
    rule, momentum = memories.rules.intra
    options = {"rule": rule, "momentum": momentum, "generator": generator}
    memories.visible = update_memory(memories.visible, visible_rows, memories.intra_label[visible], **options)
    memories.infrared = update_memory(memories.infrared, infrared_rows, memories.intra_label[infrared], **options)
    if memories.united is None:
        return
    rule, momentum = memories.rules.united
    options |= {"rule": rule, "momentum": momentum}
    positions = torch.cat([visible, infrared])
    rows = torch.cat([visible_rows, infrared_rows])
    memories.united = update_memory(
        memories.united,
        rows,
        memories.united_label[positions],
        # A batch may hold more images of one modality than of the other; the mean of the modality means is balanced.
        modality=memories.modality[positions] if rule == "mean" else None,
        **options,
    )
    if memories.instances is not None:
        options |= {"rule": "mean", "momentum": memories.rules.instance_momentum}
        memories.instances = update_memory(memories.instances, rows, positions, **options)
