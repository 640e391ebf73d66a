"""A sweep's configuration: what is searched, how, for what, and from where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, model_validator

from cluster.tracking.interface import Tracker
from ecul.errors import ConfigError
from ecul.schema import Strict, check, load_yaml, merge
from tune.objectives import check_objective

Fidelity = Literal["features", "full"]
Sampler = Literal["tpe", "cmaes", "random", "qmc", "grid"]


class DomainConfig(Strict):
    """The values of one path; exactly one of int, float, categorical, epochs."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    integers: tuple[int, int] | None = Field(None, alias="int")
    """`int` in YAML: whole numbers from [low, high], both included."""
    floats: tuple[float, float] | None = Field(None, alias="float")
    """`float` in YAML: numbers from [low, high]."""
    categorical: tuple[Any, ...] | None = Field(None, min_length=1)
    """The values, without order."""
    epochs: Literal["all", "united"] | None = None
    """For a switch epoch: `all` = every epoch in which it has an effect, and one more (never switch); `united` = the
    same, but from stage 2 on."""
    log: bool = False
    """Equal ratios are equally likely, so that 1 to 10 gets as many trials as 10 to 100. Needs a low end above 0, and
    no `step`."""
    step: float | None = Field(None, gt=0)
    """Distance of neighbouring values, counted from the low end. A grid over floats needs it."""
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """{path: values}; this path exists only in trials where each of those has one of its values. For numbers that
    belong to one clustering preset."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = {"int": self.integers, "float": self.floats, "categorical": self.categorical, "epochs": self.epochs}
        given = [name for name, value in kinds.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of int, float, categorical, epochs; got {', '.join(given) or 'none'}")
        bounds = self.integers or self.floats
        if bounds is not None and bounds[0] > bounds[1]:
            raise ValueError(f"the low end {bounds[0]} is above the high end {bounds[1]}")
        if bounds is not None and self.log and bounds[0] <= 0:
            raise ValueError(f"a log scale needs a low end above 0, got {bounds[0]}")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot be combined")
        if self.integers is not None and self.step is not None and self.step != round(self.step):
            raise ValueError(f"the step of an int must be whole, got {self.step}")
        return self


class ObjectiveConfig(Strict):
    """One metric to optimise: an entry of the list of a fidelity."""

    metric: str
    """Name of an objective (`tune.objectives`, docs/tuning.md); none is of test identities."""
    mode: Literal["max", "min"] = "max"
    """Whether more is better or less."""


class SamplerConfig(Strict):
    """How points are chosen."""

    name: Sampler = "tpe"
    """`tpe` (Optuna's multivariate one), `cmaes` (one objective; draws categories at random), `random`, `qmc` (covers
    the space evenly), `grid` (every point; `trials` is ignored)."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Of the sampler. It repeats a sweep only as far as the trials end in the same order."""
    startup: int = Field(10, ge=1)
    """Random trials before tpe or cmaes begins. More explore better, but leave fewer for the search itself."""


class FeaturesConfig(Strict):
    """The `features` fidelity: trials cluster a saved feature bank."""

    bank: str | None = None
    """File written by `python -m tune.features`; needed at this fidelity."""
    cpus_per_trial: int = Field(1, ge=1)
    """Processors, and threads, of one trial. With 1 the most trials run at once; large banks may want more."""
    draws: int = Field(10, ge=0)
    """Random halves of the validation people that a trial is scored on, from one clustering; objectives are means over
    them, and `NAME_std` in the record is their spread. All trials see the same halves. More cost some milliseconds
    each; 0 scores all people once, without a spread."""
    gpus_per_trial: float = Field(0, ge=0)
    """GPUs of one trial, for its neighbour search; a part such as 0.25 shares one. With 0 a trial sees no GPU."""


class FullConfig(Strict):
    """The `full` fidelity: each trial is a Ray Train run."""

    cluster: str | None = None
    """YAML file of the cluster settings (`cluster.config`) of each trial; null for their defaults."""
    warm_start: str | None = None
    """Run directory or checkpoint of stage 1 that every trial begins from, so that only stage 2 is trained. It must
    have been trained with data.hold_out_validation=true."""
    prune: bool = True
    """Stop weak trials after some evaluations (asynchronous successive halving). Saves time; may stop a trial that
    would have ended well. One objective only."""
    grace_epochs: int = Field(2, ge=1)
    """Epochs that a trial always trains, counted from its own first. Early scores may rank trials wrongly, so more is
    safer and slower."""
    trial_hours: float | None = Field(None, gt=0)
    """Longest training of a trial, in hours; null = no limit. A trial that reaches it ends like a stopped one, with its
    last evaluated epoch, and fails if there is none. One that a later session continues has the time again."""
    reduction_factor: int = Field(2, ge=2)
    """At each rung one in so many trials continues."""
    start_from: str | None = None
    """Name of a `features` sweep in the same storage folder; its best points are tried first."""
    start_points: int = Field(3, ge=0)
    """How many of them."""


class SweepConfig(Strict):
    """A sweep."""

    base: str
    """YAML configuration that the trials change, such as configs/synthetic.yaml."""
    set: dict[str, Any] = Field(default_factory=dict)
    """{path: value}: changes of it, for all trials."""
    fidelity: Fidelity = "features"
    """`features`: trials cluster a saved feature bank (seconds). `full`: trials are trainings."""
    space: dict[str, DomainConfig] = Field(min_length=1)
    """{path: domain}: what is searched. Paths that a fidelity cannot tell apart are left out there."""
    constraints: tuple[str, ...] = ()
    """`PATH >= PATH` between searched or fixed paths; also >, <=, <. No trial breaks one."""
    objectives: dict[Fidelity, tuple[ObjectiveConfig, ...]]
    """{fidelity: objectives}; several give a Pareto front."""
    sampler: SamplerConfig = SamplerConfig.model_validate({})
    """How points are chosen."""
    points: tuple[dict[str, Any], ...] = ()
    """Points tried first, after the base configuration itself; what a point leaves out is the base's."""
    trials: int = Field(50, ge=1)
    """How many trials the sweep has when it is done."""
    storage: Literal["journal", "sqlite"] = "journal"
    """File of the Optuna study: `study.journal` (also on network file systems) or `study.db`."""
    tracker: Tracker = "none"
    """Experiment tracker: none, wandb, wandb+checkpoint (full trials also send their last checkpoint), tensorboard."""
    features: FeaturesConfig = FeaturesConfig.model_validate({})
    """Settings of the `features` fidelity."""
    full: FullConfig = FullConfig.model_validate({})
    """Settings of the `full` fidelity."""

    @property
    def targets(self) -> tuple[ObjectiveConfig, ...]:
        """The objectives of the configured fidelity."""
        return self.objectives[self.fidelity]

    def updated(self, values: Mapping[str, Any]) -> "SweepConfig":
        """Returns a copy with {dotted path: value} applied.

        Raises:
            ConfigError: an unknown path or a value out of range.
        """
        return check(SweepConfig, merge(self.model_dump(mode="json", by_alias=True), values), what="sweep")

    @model_validator(mode="after")
    def _objectives_may_be_chosen(self) -> Self:
        if not self.objectives.get(self.fidelity):
            raise ValueError(f"objectives.{self.fidelity} is missing; such as [{{metric: validation_...}}]")
        for fidelity, targets in self.objectives.items():
            for target in targets:
                try:
                    check_objective(target.metric, fidelity)
                except ConfigError as error:
                    raise ValueError(str(error)) from None
        if self.sampler.name == "cmaes" and len(self.targets) > 1:
            raise ValueError("sampler cmaes takes one objective; use tpe for several")
        if self.full.prune and self.fidelity == "full" and len(self.targets) > 1:
            raise ValueError("pruning follows one objective; set full.prune=false for several")
        return self


def load_sweep(path: str | Path, changes: Mapping[str, Any] | None = None) -> SweepConfig:
    """Returns the checked sweep of a YAML file, with top-level or dotted keys replaced.

    Raises:
        ConfigError: the file cannot be read, a key is unknown or a value is out of range.
    """
    tree = load_yaml(path, what="sweep", keys="base, space, objectives", shipped="configs/tune/")
    return check(SweepConfig, merge(tree, dict(changes or {})), what=f"sweep {path}")


def sweep_text(sweep: SweepConfig) -> str:
    """Returns the sweep as YAML that `load_sweep` reads back."""
    return yaml.safe_dump(sweep.model_dump(mode="json", exclude_defaults=True, by_alias=True), sort_keys=False)
