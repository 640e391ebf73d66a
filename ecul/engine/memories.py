"""The memories of an epoch, built by `ecul.engine.memory_start`, moved after every step (docs/method.md, "TSMem").

Shape legend: N training images, D embedding size, B global images of a modality, n images of this rank, S this rank's
embeddings (two views of n visible images, then n infrared images).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.memory.update import update_memory


@dataclass(frozen=True)
class UpdateRules:
    """How the memories move in one epoch.

    Attributes:
        intra: rule and momentum of the two memories of one modality.
        united: rule and momentum of the united memory.
        instances: rule and momentum of the instance memory.
        balanced: whether a mean in the united memory is that of the two modality means.
    """

    intra: tuple[str, float]
    united: tuple[str, float]
    instances: tuple[str, float]
    balanced: bool = True


@dataclass
class Memories:
    """The proxies of an epoch; rows are unit vectors, but for blended ones. `united` and `positives` are of stage 2.

    Attributes:
        visible: (K_v, D), clusters of the visible images.
        infrared: (K_i, D), clusters of the infrared images.
        united: (K, D), clusters over both modalities; None without them.
        instances: (N, D), an embedding of each training image; None where no term needs it.
        positives: int64 (N, M), selected images of the other modality, -1 padded; None without any.
        modality: int64 (N,), values of `Modality`.
        intra_label: int64 (N,), cluster within the image's modality, -1 noise.
        united_label: int64 (N,), -1 where there is none.
        rules: how the memories move in this epoch.
        bank_intra: whether the epoch has terms against the instance memory inside each modality.
        bank_united: the same over both modalities.
        blended: rows of the visible and of the infrared memory that were blended; None where none should be.
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
    bank_intra: bool = False
    bank_united: bool = False
    blended: tuple[int, int] | None = None


@dataclass(frozen=True)
class StepBatch:
    """One rank's augmented images, and which training images they and the whole global batch are.

    Attributes:
        visible: normalised images, the two views one after the other (2n, 3, H, W).
        infrared: (n, 3, H, W); in stage 0 two views (2n, 3, H, W).
        visible_positions: int64 (B,), positions of the global batch's images in the training index.
        infrared_positions: int64 (B,).
        part: this rank's slice of them.
        united: the step's second batch, of united clusters, where the united terms have a batch of their own.
    """

    visible: Tensor
    infrared: Tensor
    visible_positions: NDArray[np.int64]
    infrared_positions: NDArray[np.int64]
    part: slice
    united: "StepBatch | None" = None

    @property
    def parts(self) -> tuple["StepBatch", ...]:
        """The step's one or two batches: the first is for the terms inside each modality, the last for the others."""
        return (self,) if self.united is None else (self, self.united)

    def __len__(self) -> int:
        """This rank's embeddings of this batch alone."""
        return len(self.visible) + len(self.infrared)


@dataclass(frozen=True)
class _Gathered:
    """The embeddings of a whole global batch.

    Attributes:
        visible: int64, positions of the visible rows' images; both views of an image have its position.
        infrared: the same of the infrared rows.
        visible_rows: (2B, D).
        infrared_rows: (B, D).
    """

    visible: Tensor
    infrared: Tensor
    visible_rows: Tensor
    infrared_rows: Tensor

    @property
    def positions(self) -> Tensor:
        """Of all rows, visible ones first."""
        return torch.cat([self.visible, self.infrared])

    @property
    def rows(self) -> Tensor:
        """All rows (3B, D)."""
        return torch.cat([self.visible_rows, self.infrared_rows])


def _gathered(embeddings: Float[Tensor, "S D"], batch: StepBatch) -> _Gathered:
    # Each rank holds n rows of every view. Gathering along the second axis keeps a view's rows together and in the
    # order of the global batch, so that the result does not depend on the number of ranks.
    views = runtime.gather_dealt(embeddings.view(3, len(batch.infrared), -1), dim=1)
    device = embeddings.device
    return _Gathered(
        visible=torch.from_numpy(batch.visible_positions).to(device, non_blocking=True).repeat(2),
        infrared=torch.from_numpy(batch.infrared_positions).to(device, non_blocking=True),
        visible_rows=views[:2].flatten(0, 1),
        infrared_rows=views[2],
    )


@torch.no_grad()
def update_memories(
    memories: Memories, embeddings: Float[Tensor, "S D"], batch: StepBatch, *, key: tuple[int, ...]
) -> None:
    """Moves every memory by the global batch, by the epoch's rules.

    Where the united terms have a batch of their own, it moves the united memory, the other batch moves those inside
    each modality, and both move the instance memory.

    Args:
        memories: changed in place; equal on all ranks before and after.
        embeddings: this rank's, visible views first, batch after batch.
        batch: the step's.
        key: seeds the choice of instances; equal on all ranks.
    """
    split = embeddings.split([len(part) for part in batch.parts])
    parts = [_gathered(rows, part) for rows, part in zip(split, batch.parts, strict=True)]
    first, last = parts[0], parts[-1]
    # One generator for all memories: the order of the updates below is part of what a seed means.
    generator = runtime.torch_generator(*key)
    rule, momentum = memories.rules.intra
    options = {"rule": rule, "momentum": momentum, "generator": generator}
    label = memories.intra_label
    memories.visible = update_memory(memories.visible, first.visible_rows, label[first.visible], **options)
    memories.infrared = update_memory(memories.infrared, first.infrared_rows, label[first.infrared], **options)
    if memories.united is not None:
        rule, momentum = memories.rules.united
        options |= {"rule": rule, "momentum": momentum}
        memories.united = update_memory(
            memories.united,
            last.rows,
            memories.united_label[last.positions],
            # A batch may hold more images of one modality than of the other; the mean of the modality means does not
            # depend on that.
            modality=memories.modality[last.positions] if rule == "mean" and memories.rules.balanced else None,
            **options,
        )
    if memories.instances is not None:
        rule, momentum = memories.rules.instances
        options |= {"rule": rule, "momentum": momentum}
        _move_instances(memories.instances, torch.cat([part.rows for part in parts]), batch, options)


def _move_instances(
    instances: Float[Tensor, "N D"], rows: Tensor, batch: StepBatch, options: Mapping[str, Any]
) -> None:
    """Moves the step's own images in place; the cost of a step must not grow with the data."""
    positions = [(np.tile(part.visible_positions, 2), part.infrared_positions) for part in batch.parts]
    # On the host, where the positions are: torch.unique would make it wait for the device.
    touched, place = (
        torch.from_numpy(found).to(instances.device, non_blocking=True)
        for found in np.unique(np.concatenate([side for sides in positions for side in sides]), return_inverse=True)
    )
    instances.index_copy_(0, touched, update_memory(instances[touched], rows, place, **options))
