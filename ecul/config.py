"""The configuration tree: every hyperparameter, its range and its only default.

A run is a YAML file checked against `Config`, plus `--set path=value` overrides. Unknown keys are errors.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ecul.names import Backbone, Device, FirstRule, GalleryRule, LayoutName, Preset
from ecul.schema import Strict
from ecul.types import ClusteringParameters, SelectionParameters

Epochs = Field(ge=0, le=10_000)

PRESET_DEFAULTS: Mapping[str, Mapping[str, int | str]] = {
    "kreciprocal": {"k1": 30, "k2": 6},
    "modality_balanced": {"k1": 40, "k2": 32},
    "balanced_neighbours": {"k1": 30, "k2": 6},
    "camera_aware": {"k1_intra": 5, "k1_inter": 20, "k2_intra": 2, "k2_inter": 4},
    "emcc": {"k1": 10, "k2": 4, "k3": 10, "groups": "modality_camera"},
}


class DataConfig(Strict):
    """Where the images are and how they are read.

    Attributes:
        cache_gib: decoded images are kept in memory, as uint8, when all of them fit in this many GiB.
        hold_out_validation: keep the validation identities out of training, so that they can be scored.
        crop_padding: pixels around the image before the random crop.
    """

    root: str
    layout: Literal["auto"] | LayoutName = "auto"
    trial: int = Field(1, ge=1, le=10)
    height: int = Field(288, ge=16, le=1024)
    width: int = Field(144, ge=8, le=1024)
    cache_gib: float = Field(8.0, ge=0)
    num_workers: int = Field(0, ge=0, le=64)
    hold_out_validation: bool = False
    crop_padding: int = Field(10, ge=0)
    erasing_probability: float = Field(0.5, ge=0, le=1)
    channel_exchange: bool = True


class ModelConfig(Strict):
    """The network.

    Attributes:
        weights: `imagenet`, `none`, `synthetic` (shipped, small backbone), or a safetensors file.
        batch_norm: statistics per process (`local`), over all processes (`sync`, GPUs only), or `frozen`.
    """

    backbone: Backbone = "agw_resnet50"
    weights: str = "imagenet"
    non_local: bool = False
    batch_norm: Literal["local", "sync", "frozen"] = "local"

    @model_validator(mode="after")
    def _weights_exist_for_backbone(self) -> Self:
        wanted = {"imagenet": "agw_resnet50", "synthetic": "small"}.get(self.weights, self.backbone)
        if wanted != self.backbone:
            raise ValueError(f"weights {self.weights!r} are for backbone {wanted}, got {self.backbone}")
        if self.non_local and self.backbone == "small":
            raise ValueError("non_local is for backbone agw_resnet50")
        return self


class ClusteringConfig(Strict):
    """One clustering: a preset and its ranges. What the preset has a default for may be left out."""

    preset: Preset = "emcc"
    groups: Literal["modality_camera", "modality"] | None = None
    k1: int | None = Field(None, ge=1, le=1000)
    k2: int | None = Field(None, ge=1, le=1000)
    k3: int | None = Field(None, ge=1, le=1000)
    k1_intra: int | None = Field(None, ge=1, le=1000)
    k1_inter: int | None = Field(None, ge=1, le=1000)
    k2_intra: int | None = Field(None, ge=1, le=1000)
    k2_inter: int | None = Field(None, ge=1, le=1000)
    eps: float = Field(0.6, gt=0, lt=1)
    min_samples: int = Field(4, ge=1, le=1000)
    index: Literal["flat", "ivf", "hnsw"] = "flat"

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given: dict[str, Any] = {key: value for key, value in values.items() if value is not None}  # pyright: ignore[reportUnknownVariableType]
        return dict(PRESET_DEFAULTS.get(str(given.get("preset", "emcc")), {})) | given

    @model_validator(mode="after")
    def _ranges_fit_preset(self) -> Self:
        optional = ("groups", "k1", "k2", "k3", "k1_intra", "k1_inter", "k2_intra", "k2_inter")
        foreign = [
            name for name in optional if getattr(self, name) is not None and name not in PRESET_DEFAULTS[self.preset]
        ]
        if foreign:
            raise ValueError(f"preset {self.preset} does not use {', '.join(foreign)}; leave it out or set it to null")
        if self.k3 is not None and self.k2 is not None and self.k3 < self.k2:
            raise ValueError(f"k3 ({self.k3}) must be at least k2 ({self.k2}): the filter's range holds the fusion's")
        return self

    def parameters(self, *, eps: float | None = None) -> ClusteringParameters:
        """Returns the plain numbers that the engine takes; `eps` replaces the configured one (the curriculum)."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in ClusteringParameters.__dataclass_fields__}
        if eps is not None:
            fields["eps"] = eps
        return ClusteringParameters(**fields)


class IntraConfig(ClusteringConfig):
    """Clustering inside one modality (stages 1 and 2)."""

    preset: Preset = "kreciprocal"

    @model_validator(mode="before")
    @classmethod
    def _intra_default(cls, values: Any) -> Any:
        return {"preset": "kreciprocal"} | dict(values) if isinstance(values, Mapping) else values  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


class SelectionConfig(Strict):
    """Inter-modality instance selection: mutual nearest across modalities and close (method section 6)."""

    num_neighbors: int = Field(3, ge=1, le=100)
    max_distance: float = Field(0.7, gt=0, lt=1)

    def parameters(self) -> SelectionParameters:
        """Returns the plain numbers that the engine takes."""
        return SelectionParameters(**self.model_dump())


class EpochClusteringConfig(ClusteringConfig):
    """The united clustering (the keys at this level), the intra-modality one and the instance selection.

    Attributes:
        eps_start: eps of the first stage-2 epoch; it moves to `eps` in `eps_ramp_epochs` equal steps.
    """

    eps_start: float | None = Field(None, gt=0, lt=1)
    eps_ramp_epochs: int = Field(0, ge=0)
    num_threads: int | None = Field(None, ge=1)
    intra: IntraConfig = IntraConfig.model_validate({})
    selection: SelectionConfig = SelectionConfig.model_validate({})

    def eps_at(self, stage_epoch: int) -> float:
        """Eps of the n-th stage-2 epoch, counted from 1."""
        if self.eps_start is None or stage_epoch > self.eps_ramp_epochs:
            return self.eps
        return self.eps_start + (self.eps - self.eps_start) * (stage_epoch - 1) / self.eps_ramp_epochs


class TwoStepConfig(Strict):
    """TSMem for one kind of memory. Epochs are counted from 1 over the whole run.

    Attributes:
        switch_epoch: first epoch of step two (the mean of the batch's instances).
        first_rule: step one's choice of instance.
        first_momentum: weight of the old row in step one.
        second_momentum: weight of the old row in step two.
    """

    switch_epoch: int = Epochs
    first_rule: FirstRule = "random"
    first_momentum: float = Field(0.2, ge=0, lt=1)
    second_momentum: float = Field(0.2, ge=0, lt=1)


class MemoryConfig(Strict):
    """The memories' update rules."""

    intra: TwoStepConfig = TwoStepConfig.model_validate({"switch_epoch": 50})
    united: TwoStepConfig = TwoStepConfig.model_validate({"switch_epoch": 75})


class LossConfig(Strict):
    """Temperatures and weights of the losses (method section 6)."""

    temperature: float = Field(0.05, gt=0)
    united_weight: float = Field(1.0, ge=0)
    instance_weight: float = Field(0.5, ge=0)
    num_negatives: int = Field(50, ge=1)


class BatchConfig(Strict):
    """The global batch, over all workers.

    Attributes:
        batch_size: images of each modality in a step; visible ones enter as two views.
        instances: images per cluster.
        united_fraction: stage 2, share of the batch drawn from clusters that hold both modalities.
    """

    batch_size: int = Field(128, ge=2)
    instances: int = Field(16, ge=2)
    united_fraction: float = Field(0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.batch_size % self.instances:
            raise ValueError(f"batch_size ({self.batch_size}) must be a multiple of instances ({self.instances})")
        return self


class StagesConfig(Strict):
    """How many epochs each stage runs: 0 bootstrap, 1 intra-modality terms only, 2 all terms."""

    bootstrap: int = Field(0, ge=0)
    intra: int = Field(50, ge=0)
    united: int = Field(50, ge=0)
    iterations: int = Field(200, ge=1)


class OptimConfig(Strict):
    """Adam with step decay; the schedule starts anew with each stage."""

    learning_rate: float = Field(3.5e-4, gt=0)
    weight_decay: float = Field(5e-4, ge=0)
    decay_epochs: int = Field(20, ge=1)
    decay_factor: float = Field(0.1, gt=0, le=1)
    warmup_epochs: int = Field(0, ge=0)
    max_gradient_norm: float | None = Field(None, gt=0)


class EvaluationConfig(Strict):
    """When and how retrieval is measured. The last epoch is the reported one; nothing is selected on test identities.

    Attributes:
        every: evaluate each n-th epoch, and the last; 0 = the last only.
        split: `test`, or `validation` (needs data.hold_out_validation).
        protocols: empty = the layout's own.
    """

    every: int = Field(5, ge=0)
    split: Literal["test", "validation"] = "test"
    protocols: tuple[str, ...] = ()
    gallery_rule: GalleryRule = "community"
    batch_size: int = Field(256, ge=1)


class RuntimeConfig(Strict):
    """How the work is run; nothing here changes what is computed, but for rounding."""

    device: Device = "auto"
    autocast: bool = True
    channels_last: bool = True
    compile: bool = False
    keep_checkpoints: int = Field(2, ge=1)
    profile: bool = False


class Config(Strict):
    """Everything that a run depends on, beside the data.

    Attributes:
        warm_start: a checkpoint of another run (or its run directory) to begin from, epoch and optimizer included;
            it must be from stage 0 or 1, so that stage 2 alone is trained anew.
    """

    seed: int = Field(0, ge=0, lt=2**31)
    warm_start: str | None = None
    data: DataConfig
    model: ModelConfig = ModelConfig.model_validate({})
    stages: StagesConfig = StagesConfig.model_validate({})
    batch: BatchConfig = BatchConfig.model_validate({})
    optim: OptimConfig = OptimConfig.model_validate({})
    clustering: EpochClusteringConfig = EpochClusteringConfig.model_validate({})
    memory: MemoryConfig = MemoryConfig()
    loss: LossConfig = LossConfig.model_validate({})
    evaluation: EvaluationConfig = EvaluationConfig.model_validate({})
    runtime: RuntimeConfig = RuntimeConfig.model_validate({})

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.stages.bootstrap + self.stages.intra + self.stages.united == 0:
            raise ValueError("stages.bootstrap, .intra and .united are all 0: nothing to train")
        if self.evaluation.split == "validation" and not self.data.hold_out_validation:
            raise ValueError("evaluation.split=validation needs data.hold_out_validation=true")
        return self

    @property
    def num_epochs(self) -> int:
        """Epochs of all stages together."""
        return self.stages.bootstrap + self.stages.intra + self.stages.united
