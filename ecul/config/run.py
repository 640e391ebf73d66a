"""The settings tree of a run, evaluation, and how the work is run."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ecul.config.clustering import ClusteringConfig
from ecul.config.data import DataConfig, ModelConfig
from ecul.config.training import STAGE_NUMBERS, BatchConfig, LossConfig, MemoryConfig, OptimConfig, StagesConfig
from ecul.names import Device, GalleryRule, Oracle
from ecul.schema import Strict

_ONCE_WITHOUT_SECTION = "preset groups k1 k2 k3 k1_intra k1_inter k2_intra k2_inter eps min_samples"
_MOVED = {
    "data.num_workers": "data.decode_threads",
    "clustering.index": "clustering.united.backend, whose lists are always exact: leave it out",
} | {f"clustering.{name}": f"clustering.united.{name}" for name in _ONCE_WITHOUT_SECTION.split()}
for _section in ("clustering", "clustering.united"):
    _MOVED[f"{_section}.eps_start"] = "clustering.united.schedule.eps.first"
    _MOVED[f"{_section}.eps_ramp_epochs"] = "clustering.united.schedule.eps.epochs"


def moved_to(path: str) -> str | None:
    """Returns where a setting of an earlier version is now, or None for a path that never moved."""
    return _MOVED.get(path)


class EvaluationConfig(Strict):
    """When and how retrieval is measured. The reported epoch is the last; nothing is selected on test identities."""

    every: int = Field(5, ge=0)
    """Evaluate each n-th epoch, and the last; 0 = the last only. Costs an embedding of the test images each time."""
    split: Literal["test", "validation"] = "test"
    """Whose images are ranked; `validation` needs data.hold_out_validation=true."""
    protocols: tuple[str, ...] = ()
    """Names of evaluation protocols, such as [sysu_all_single]; empty = all of the layout. The first is reported."""
    gallery_rule: GalleryRule = "community"
    """SYSU-MM01's galleries: `community` (drawn with seed = trial, as public Python codes do) or `official` (the fixed
    ones of the dataset's own code; the real test split only)."""
    batch_size: int | None = Field(None, ge=1)
    """Images embedded at once, in the evaluation and at the start of an epoch, without their mirror images; null = 32
    on a CPU, whose caches hold no more, else 256. Costs memory only."""


class RuntimeConfig(Strict):
    """How the work is run; nothing here changes what is computed, but for rounding."""

    device: Device = "auto"
    """`auto` takes a GPU where there is one."""
    autocast: bool = True
    """On GPUs: half precision where it is safe. Faster, less memory, another rounding."""
    channels_last: bool = True
    """Memory format of convolutions; faster on GPUs."""
    compile: bool = False
    """Compile the network with torch.compile: a slow first step, faster ones after."""
    keep_checkpoints: int = Field(2, ge=1)
    """Newest checkpoints that are kept. 2 allows --use-previous when the newest is damaged."""
    report: bool = True
    """Leave report.html, inspection.npz and pictures in the run directory (docs/report.md). Costs seconds at each
    evaluation and at the end, and a few megabytes."""
    keep_every: int | None = Field(None, ge=1)
    """Keep the checkpoint of each n-th epoch for good, in `kept/`; null = none. To follow a training's course, or to
    begin again in its middle. Each costs its space (AGW: 300 MB) and, over Ray, a write that the workers wait for."""
    profile: bool = False
    """Leave a torch profiler trace of ten steps of the last epoch in the run directory (trace.json)."""


class Config(Strict):
    """Everything that a run depends on, beside the data."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Decides all that is random, with the epoch, the step and the position in the batch."""
    warm_start: str | None = None
    """A run directory or checkpoint of another run to begin from, epoch and optimizer included. It must be of stage 0
    or 1, so that only stage 2 is trained again."""
    oracle: Oracle | None = None
    """For ablations only, refused outside configs/ablation: true labels for found ones. `intra`: inside each modality;
    `links`: united clusters without wrong links; `completed`: united clusters that lack nobody; `united`: over both
    modalities; `all`: everywhere. Every record of the run says so (docs/benchmark.md, "Oracles")."""
    data: DataConfig
    """Images."""
    model: ModelConfig = ModelConfig.model_validate({})
    """Network."""
    stages: StagesConfig = StagesConfig.model_validate({})
    """Lengths of the stages."""
    batch: BatchConfig = BatchConfig.model_validate({})
    """Batches."""
    optim: OptimConfig = OptimConfig.model_validate({})
    """Optimizer."""
    clustering: ClusteringConfig = ClusteringConfig.model_validate({})
    """Pseudo-labels."""
    memory: MemoryConfig = MemoryConfig()
    """Memories."""
    loss: LossConfig = LossConfig.model_validate({})
    """Losses."""
    evaluation: EvaluationConfig = EvaluationConfig.model_validate({})
    """Evaluation."""
    runtime: RuntimeConfig = RuntimeConfig.model_validate({})
    """Machine."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_moved(cls, tree: Any) -> Any:
        """Files of an earlier version are refused with the new paths; their meaning is not guessed."""
        if isinstance(tree, Mapping):
            old = [path for path in _MOVED if _holds(tree, path)]  # pyright: ignore[reportUnknownArgumentType]
            if old:
                raise ValueError("; ".join(f"{path} is now {_MOVED[path]}" for path in old))
        return tree  # pyright: ignore[reportUnknownVariableType]

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.stages.total == 0:
            raise ValueError(f"stages.{', .'.join(STAGE_NUMBERS)} are all 0: nothing to train")
        self._check_blend()
        if self.evaluation.split == "validation" and not self.data.hold_out_validation:
            raise ValueError("evaluation.split=validation needs data.hold_out_validation=true")
        return self

    def _check_blend(self) -> None:
        """Refuses epochs that would be trained without what they are there for."""
        blend, stages = self.memory.blend, self.stages
        if blend.from_stage is None:
            if stages.blend:
                raise ValueError(
                    f"stages.blend is {stages.blend}, but memory.blend.from_stage is null: its epochs would repeat "
                    "stage 1; set memory.blend.from_stage to blend, or stages.blend to 0"
                )
            return
        length = stages.length(blend.from_stage)
        if length and blend.from_epoch > length:
            raise ValueError(
                f"memory.blend.from_epoch is {blend.from_epoch}, but stage {blend.from_stage} has {length} epochs"
            )
        begin = stages.first(blend.from_stage) + blend.from_epoch - 1
        if stages.blend and begin > stages.first("blend"):
            raise ValueError(
                f"memories are blended from epoch {begin} on, but stages.blend begins with epoch "
                f"{stages.first('blend')}; lengthen stages.intra instead, or set memory.blend.from_stage to blend"
            )

    @property
    def blended_from(self) -> int | None:
        """First epoch of the run whose memories are blended across the modalities; None = never."""
        blend = self.memory.blend
        return None if blend.from_stage is None else self.stages.first(blend.from_stage) + blend.from_epoch - 1

    @property
    def num_epochs(self) -> int:
        """Epochs of all stages together."""
        return self.stages.total


def _holds(tree: Mapping[str, Any], path: str) -> bool:
    section, _, inside = path.partition(".")
    value = tree.get(section)
    return section in tree if not inside else isinstance(value, Mapping) and _holds(value, inside)  # pyright: ignore[reportUnknownArgumentType]
