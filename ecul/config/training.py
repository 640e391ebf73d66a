"""Settings of the training itself: stages, batches, optimizer, memories and losses."""

from collections.abc import Mapping
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from ecul.memory_parameters import BlendParameters, InstanceSchedule, TwoStepSchedule
from ecul.names import StageName, UnitedBatch
from ecul.schema import Strict

STAGE_NUMBERS: Mapping[StageName, float] = {"bootstrap": 0, "intra": 1, "blend": 1.5, "united": 2}
"""The number that records and pictures give each stage."""
_ORDER: tuple[StageName, ...] = get_args(StageName)


class StagesConfig(Strict):
    """How long each stage trains, in the order of the stages. The learning rate starts again with each."""

    bootstrap: int = Field(0, ge=0)
    """Epochs of stage 0: instance discrimination without clusters, for networks without pretrained weights."""
    intra: int = Field(50, ge=0)
    """Epochs of stage 1: the loss terms inside each modality only. Stage 2 needs mostly pure clusters to start from
    (docs/log.md)."""
    blend: int = Field(0, ge=0)
    """Epochs between stages 1 and 2 (stage 1.5 in records): the terms of stage 1, against memories that are blended
    across the modalities (`memory.blend`). They bring the modalities closer before both are clustered together."""
    united: int = Field(50, ge=0)
    """Epochs of stage 2: all loss terms."""
    iterations: int = Field(200, ge=1)
    """Steps of an epoch. Labels are new each epoch, so fewer steps renew them more often."""

    def length(self, stage: StageName) -> int:
        """Returns the number of a stage's epochs."""
        return getattr(self, stage)

    def first(self, stage: StageName) -> int:
        """Returns the run's first epoch of a stage, counted from 1; that of the stage after it if it has none."""
        return 1 + sum(map(self.length, _ORDER[: _ORDER.index(stage)]))

    def at(self, epoch: int) -> tuple[StageName, int]:
        """Returns the stage of an epoch and the epoch's number within it; both count from 1, over the whole run."""
        stage: StageName = next(name for name in _ORDER if epoch < self.first(name) + self.length(name))
        return stage, epoch - self.first(stage) + 1

    @property
    def total(self) -> int:
        """Epochs of all stages together."""
        return sum(map(self.length, _ORDER))


class BatchConfig(Strict):
    """The global batch, over all workers."""

    batch_size: int = Field(128, ge=2)
    """Images of each modality in a step; visible ones enter as two views. GPU memory grows with it; a multiple of
    `instances`, and over several workers of their number."""
    instances: int = Field(16, ge=2)
    """Images per cluster in a step. More see more of a cluster, of fewer clusters."""
    united_fraction: float = Field(0.5, ge=0, le=1)
    """Stage 2 and `united: mixed`: share of a step's clusters that hold both modalities. The rest keeps clusters
    without a partner learning; not ablated."""
    united: UnitedBatch = "mixed"
    """Stage 2: where the images of the united terms come from. `mixed`: one batch, with `united_fraction` of its
    clusters. `own`: a second batch of the same size, of united clusters that hold both modalities; twice the time and
    memory. `own_unpaired`: the same, but each modality draws from all united clusters by itself (MPJL)."""

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
    """Memory over both modalities; its second momentum also moves the instance memory, unless that has its own."""
    united_means: Literal["balanced", "plain"] = "balanced"
    """What a mean is in the united memory: of the two modality means (`balanced`), or of all images (`plain`, which
    weighs visible images more where there are more of them; MPJL)."""
    instances: InstanceSchedule = InstanceSchedule()
    """Memory of one row for each image, for the instance-level terms."""
    blend: BlendParameters = BlendParameters()
    """Blending of the two memories of one modality each."""


class BankLossConfig(Strict):
    """Instance-level terms against the whole instance memory (docs/method.md, "Losses").

    An image is held against all rows, and those of its own cluster are right. They need no selected pairs, and cost a
    product with every row.
    """

    intra_weight: float = Field(0.0, ge=0)
    """Weight of the terms inside each modality; 0 turns them off. MPJL uses 1."""
    intra_stages: tuple[Literal["intra", "blend", "united"], ...] = Field(("intra", "blend", "united"), min_length=1)
    """Stages that have the terms inside each modality."""
    united_weight: float = Field(0.0, ge=0)
    """Stage 2: weight of the terms over both modalities; 0 turns them off. MPJL uses 0.7."""


class LossConfig(Strict):
    """Temperatures and weights of the losses (docs/method.md, "Losses")."""

    temperature: float = Field(0.05, gt=0)
    """Divides similarities before the softmax. Smaller sharpens, and weighs hard negatives more. The public codes use
    0.05."""
    united_weight: float = Field(1.0, ge=0)
    """Stage 2: weight of the terms against the united memory, beside 1 for those inside each modality."""
    instance_weight: float = Field(0.5, ge=0)
    """Stage 2: weight of the instance-level terms of selected pairs; 0 turns them off."""
    num_negatives: int = Field(50, ge=1)
    """Selected pairs: most similar images of other united clusters that a pair is held against."""
    bank: BankLossConfig = BankLossConfig.model_validate({})
    """Instance-level terms without selection, beside those of selected pairs or, with `instance_weight: 0`, in their
    place."""
