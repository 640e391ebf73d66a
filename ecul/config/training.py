"""Settings of the training itself: stages, batches, optimizer, memories and losses."""

from typing import Self

from pydantic import Field, model_validator

from ecul.parameters import TwoStepSchedule
from ecul.schema import Strict


class StagesConfig(Strict):
    """How long each stage trains."""

    bootstrap: int = Field(0, ge=0)
    """Epochs of stage 0: instance discrimination without clusters, for networks without pretrained weights."""
    intra: int = Field(50, ge=0)
    """Epochs of stage 1: the loss terms inside each modality only. Stage 2 needs mostly pure clusters to start from
    (docs/log.md)."""
    united: int = Field(50, ge=0)
    """Epochs of stage 2: all loss terms."""
    iterations: int = Field(200, ge=1)
    """Steps of an epoch. Labels are new each epoch, so fewer steps renew them more often."""


class BatchConfig(Strict):
    """The global batch, over all workers."""

    batch_size: int = Field(128, ge=2)
    """Images of each modality in a step; visible ones enter as two views. GPU memory grows with it; a multiple of
    `instances`, and over several workers of their number."""
    instances: int = Field(16, ge=2)
    """Images per cluster in a step. More see more of a cluster, of fewer clusters."""
    united_fraction: float = Field(0.5, ge=0, le=1)
    """Stage 2: share of a step's clusters that hold both modalities. The rest keeps clusters without a partner
    learning; not ablated."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.batch_size % self.instances:
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of instances ({self.instances})")
        return self


class OptimConfig(Strict):
    """Adam with step decay. The schedule starts again with each stage."""

    learning_rate: float = Field(3.5e-4, gt=0)
    """Learning rate at the start of a stage. The public codes of this family use 3.5e-4."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty of Adam. The public codes of this family use 5e-4."""
    decay_epochs: int = Field(20, ge=1)
    """The rate is multiplied by `decay_factor` after every so many epochs of a stage."""
    decay_factor: float = Field(0.1, gt=0, le=1)
    """See `decay_epochs`; 1 keeps the rate."""
    warmup_epochs: int = Field(0, ge=0)
    """Epochs at the start of a stage in which the rate rises linearly. Protects pretrained weights from the first steps
    at full rate (docs/log.md)."""
    max_gradient_norm: float | None = Field(None, gt=0)
    """Gradients are scaled down to this L2 norm; null = not. For runs whose loss becomes infinite."""


class MemoryConfig(Strict):
    """TSMem: how the cluster memories are updated (docs/method.md, "TSMem")."""

    intra: TwoStepSchedule = TwoStepSchedule(switch_epoch=50)
    """Memories inside each modality."""
    united: TwoStepSchedule = TwoStepSchedule(switch_epoch=75)
    """Memory over both modalities; its second momentum also moves the instance memory."""


class LossConfig(Strict):
    """Temperatures and weights of the losses (docs/method.md, "Losses")."""

    temperature: float = Field(0.05, gt=0)
    """Divides similarities before the softmax. Smaller sharpens, and weighs hard negatives more. The public codes use
    0.05."""
    united_weight: float = Field(1.0, ge=0)
    """Stage 2: weight of the terms against the united memory, beside 1 for those inside each modality."""
    instance_weight: float = Field(0.5, ge=0)
    """Stage 2: weight of the instance-level terms; 0 turns them off."""
    num_negatives: int = Field(50, ge=1)
    """Instance-level terms: most similar images of other united clusters that a pair is held against."""
