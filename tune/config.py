"""A sweep's configuration: what is searched, how, for what, and from where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, model_validator

from ecul.errors import ConfigError
from ecul.schema import Strict, check, load_yaml, merge
from tune.objectives import check_objective

Fidelity = Literal["features", "full"]
Sampler = Literal["tpe", "cmaes", "random", "qmc", "grid"]


class DomainConfig(Strict):
    """The values of one path; exactly one of int, float, categorical, epochs.

    Attributes:
        integers: `int` in YAML: [low, high], both included.
        floats: `float` in YAML: [low, high].
        categorical: the values.
        epochs: `all` = every epoch of the run and one more (never); `united` = every epoch of stage 2 and one more.
        log: equal ratios are equally likely.
        step: distance of neighbouring values (a grid needs it for floats).
        when: {path: values}; this path exists only while each of those has one of its values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    integers: tuple[int, int] | None = Field(None, alias="int")
    floats: tuple[float, float] | None = Field(None, alias="float")
    categorical: tuple[Any, ...] | None = Field(None, min_length=1)
    epochs: Literal["all", "united"] | None = None
    log: bool = False
    step: float | None = Field(None, gt=0)
    when: dict[str, tuple[Any, ...]] = Field(default_factory=dict)

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
    """One figure to optimise (`tune.objectives`)."""

    metric: str
    mode: Literal["max", "min"] = "max"


class SamplerConfig(Strict):
    """How points are chosen.

    Attributes:
        name: `tpe` (multivariate), `cmaes` (one objective; categories are drawn at random), `random`, `qmc`
            (quasi-random), `grid` (every point; `trials` is not looked at).
        startup: random trials before tpe or cmaes begins.
    """

    name: Sampler = "tpe"
    seed: int = Field(0, ge=0, lt=2**31)
    startup: int = Field(10, ge=1)


class FeaturesConfig(Strict):
    """The `features` fidelity.

    Attributes:
        bank: file written by `python -m tune.features`.
        cpus_per_trial: processors, and threads, of one trial.
    """

    bank: str | None = None
    cpus_per_trial: int = Field(1, ge=1)


class FullConfig(Strict):
    """The `full` fidelity: each trial is a Ray Train run.

    Attributes:
        cluster: YAML file of the cluster settings (`cluster.config`); None for its defaults.
        warm_start: a stage-1 run or checkpoint that every trial begins from.
        prune: stop weak trials at some evaluations (asynchronous successive halving).
        grace_epochs: epochs that a trial may always train, counted from its own first.
        reduction_factor: one in so many trials goes on at each rung.
        start_from: name of a `features` sweep whose best points are tried first.
        start_points: how many of them.
    """

    cluster: str | None = None
    warm_start: str | None = None
    prune: bool = True
    grace_epochs: int = Field(2, ge=1)
    reduction_factor: int = Field(2, ge=2)
    start_from: str | None = None
    start_points: int = Field(3, ge=0)


class SweepConfig(Strict):
    """A sweep.

    Attributes:
        base: YAML configuration that the trials change.
        set: {path: value} changes of it, for all trials.
        space: {path: domain}.
        constraints: `PATH >= PATH` between searched or fixed paths; also >, <=, <.
        objectives: of each fidelity, one, or several for a Pareto front.
        points: points tried first, after the base configuration itself; what a point leaves out is the base's.
        storage: how the Optuna study is kept.
    """

    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    fidelity: Fidelity = "features"
    space: dict[str, DomainConfig] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    objectives: dict[Fidelity, tuple[ObjectiveConfig, ...]]
    sampler: SamplerConfig = SamplerConfig.model_validate({})
    points: tuple[dict[str, Any], ...] = ()
    trials: int = Field(50, ge=1)
    storage: Literal["journal", "sqlite"] = "journal"
    tracker: Literal["wandb", "tensorboard", "none"] = "none"
    features: FeaturesConfig = FeaturesConfig.model_validate({})
    full: FullConfig = FullConfig.model_validate({})

    @property
    def targets(self) -> tuple[ObjectiveConfig, ...]:
        """The objectives of the configured fidelity."""
        return self.objectives[self.fidelity]

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
