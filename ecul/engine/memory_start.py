"""The memories as they are at the start of an epoch (docs/method.md, "TSMem").

Shape legend: N training images, D embedding size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.config import Config
from ecul.engine.memories import Memories, UpdateRules
from ecul.engine.random_keys import initial_key
from ecul.memory.blend import blend_memory
from ecul.memory.centroids import cluster_means, random_members, united_means
from ecul.memory_parameters import BlendParameters
from ecul.names import InitialRow
from ecul.types import ClusteringResult, Modality


@dataclass(frozen=True)
class MemoryPlan:
    """How the memories of one epoch are built, and how they move.

    Attributes:
        rules: how they move.
        intra_initial: what the rows of the two memories of one modality are at the start.
        united_initial: the same of the united memory.
        blend: how the two memories of one modality are blended; None = they are not.
        bank_intra: whether the epoch has terms against the instance memory inside each modality.
        bank_united: the same over both modalities, where there are united clusters.
        key: seeds the choice of random rows.
    """

    rules: UpdateRules
    intra_initial: InitialRow = "mean"
    united_initial: InitialRow = "mean"
    blend: BlendParameters | None = None
    bank_intra: bool = False
    bank_united: bool = False
    key: tuple[int, ...] = (0,)


def memory_plan(config: Config, epoch: int) -> MemoryPlan:
    """Returns the plan of an epoch, counted from 1 over the whole run."""
    memory, bank = config.memory, config.loss.bank
    blended_from = config.blended_from
    return MemoryPlan(
        rules=UpdateRules(
            intra=memory.intra.at(epoch),
            united=memory.united.at(epoch),
            instances=memory.instances.at(epoch, otherwise=memory.united.second_momentum),
            balanced=memory.united_means == "balanced",
        ),
        intra_initial=memory.intra.initial(epoch),
        united_initial=memory.united.initial(epoch),
        blend=memory.blend if blended_from is not None and epoch >= blended_from else None,
        bank_intra=bank.intra_weight > 0 and config.stages.at(epoch)[0] in bank.intra_stages,
        bank_united=bank.united_weight > 0,
        key=initial_key(config.seed, epoch),
    )


def build_memories(
    features: Float[Tensor, "N D"],
    modality: NDArray[np.int32],
    labels: ClusteringResult,
    plan: MemoryPlan,
    *,
    instances: Float[Tensor, "N D"] | None = None,
) -> Memories:
    """Returns the memories at the start of an epoch.

    Args:
        features: unit rows, on the device where the memories shall be. They become the instance memory where it is
            filled anew, which each step then changes in place.
        modality: int32 (N,), values of `Modality`.
        labels: pseudo-labels of the same images.
        plan: of the epoch.
        instances: the instance memory of the epoch before, to go on with; None fills it with `features`.
    """
    device = features.device
    modality_index, intra_label = _index(modality, device), _index(labels.intra_label, device)
    generator = runtime.torch_generator(*plan.key)  # the order of the memories is part of what a seed means
    sides = [(features[side], intra_label[side]) for side in (modality_index == kind for kind in Modality)]
    (visible, infrared), blended = _intra_memories(sides, labels, plan, generator)
    united, positives = None, None
    united_label = torch.full_like(intra_label, -1)
    if labels.united_label is not None:
        united_label = _index(labels.united_label, device)
        options = {"num_clusters": labels.num_united_clusters, "initial": plan.united_initial, "generator": generator}
        balanced = modality_index if plan.rules.balanced else None
        united = _initial_rows(features, united_label, modality=balanced, **options)
    pairs = labels.selected_pairs
    if pairs is not None and len(pairs):
        positives = torch.from_numpy(positive_table(pairs, len(features))).to(device)
    bank_united = plan.bank_united and united is not None
    # one that goes on is kept through an epoch that has no use for it
    needed = instances is not None or positives is not None or plan.bank_intra or bank_united
    return Memories(
        visible=visible,
        infrared=infrared,
        united=united,
        instances=(features if instances is None else instances) if needed else None,
        positives=positives,
        modality=modality_index,
        intra_label=intra_label,
        united_label=united_label,
        rules=plan.rules,
        bank_intra=plan.bank_intra,
        bank_united=bank_united,
        blended=blended,
    )


def _intra_memories(
    sides: Sequence[tuple[Tensor, Tensor]], labels: ClusteringResult, plan: MemoryPlan, generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor], tuple[int, int] | None]:
    """The memories of both modalities, and how many rows of each were blended; None if none should be."""
    counts = (labels.num_visible_clusters, labels.num_infrared_clusters)
    visible, infrared = (
        _initial_rows(*side, num_clusters=count, initial=plan.intra_initial, generator=generator)
        for side, count in zip(sides, counts, strict=True)
    )
    if plan.blend is None:
        return (visible, infrared), None
    return _blended((visible, infrared), sides, plan.blend)


def _initial_rows(
    features: Tensor,
    labels: Tensor,
    *,
    num_clusters: int,
    initial: InitialRow,
    generator: torch.Generator,
    modality: Tensor | None = None,
) -> Tensor:
    """Rows of one memory; with `modality`, means are those of the two modality means."""
    if initial == "random":
        return random_members(features, labels, num_clusters=num_clusters, generator=generator)
    if modality is None:
        return cluster_means(features, labels, num_clusters=num_clusters)
    return united_means(features, labels, modality, num_clusters=num_clusters)


def _blended(
    memories: tuple[Tensor, Tensor], sides: Sequence[tuple[Tensor, Tensor]], blend: BlendParameters
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """Both memories, each blended with the images of the other modality, and how many rows of each were changed."""
    (visible, changed_visible), (infrared, changed_infrared) = (
        blend_memory(
            memories[own],
            *sides[other],
            num_clusters=len(memories[other]),
            threshold=blend.threshold,
            weight=blend.weight,
            one_to_one=blend.one_to_one,
        )
        for own, other in ((0, 1), (1, 0))
    )
    return (visible, infrared), (changed_visible, changed_infrared)


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
