"""A sweep's configuration: what is searched, how, for what, and from where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, model_validator

from cluster.tracking.interface import Tracker
from ecul.errors import ConfigError
from ecul.schema import Strict, check, load_yaml, merge
from tune.objectives import check_limit, check_objective

Fidelity = Literal["features", "full"]
Sampler = Literal["tpe", "gp", "cmaes", "random", "qmc", "grid"]


class CaseConfig(Strict):
    """The values of one path in some trials; exactly one of int, float, categorical, epochs."""

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

    @property
    def kinds(self) -> dict[str, Any]:
        """What says which values there are, by its name in YAML; None where it is not given."""
        return {"int": self.integers, "float": self.floats, "categorical": self.categorical, "epochs": self.epochs}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [name for name, value in self.kinds.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(self.kinds)}; got {', '.join(given) or 'none'}")
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


class DomainConfig(CaseConfig):
    """The values of one path; exactly one of int, float, categorical, epochs, cases."""

    cases: tuple[CaseConfig, ...] | None = Field(None, min_length=2)
    """Values that differ between trials, each with its `when`, of which at most one holds: such as other ranges for
    another reading."""

    @property
    def kinds(self) -> dict[str, Any]:
        """As of a case."""
        return {**super().kinds, "cases": self.cases}

    @property
    def parts(self) -> tuple[CaseConfig, ...]:
        """The cases; the domain itself where there are none."""
        return self.cases or (self,)

    @model_validator(mode="after")
    def _cases_differ(self) -> Self:
        if self.cases is not None and (self.when or not all(case.when for case in self.cases)):
            raise ValueError("each of the cases needs its own `when`; beside `cases` there is none")
        if len({case.categorical is None for case in self.parts}) > 1:
            raise ValueError("cases are either all numbers or all categorical")
        return self


class ObjectiveConfig(Strict):
    """One metric to optimise: an entry of the list of a fidelity."""

    metric: str
    """Name of an objective (`tune.objectives`, docs/tuning.md); none is of test identities."""
    mode: Literal["max", "min"] = "max"
    """Whether more is better or less."""


class LimitConfig(Strict):
    """A bound that a trial must keep to be the best one: an entry of the list of a fidelity; exactly one of both."""

    metric: str
    """Name of an objective, or one of `noise_share`, `clusters` and, at fidelity full, `gpu_memory_mib`."""
    least: float | None = None
    """Smallest value that is good."""
    most: float | None = None
    """Largest value that is good."""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.least is None) == (self.most is None):
            raise ValueError(f"limit on {self.metric}: give exactly one of least, most")
        return self

    @property
    def name(self) -> str:
        """Such as `noise_share <= 0.5`."""
        return f"{self.metric} >= {self.least:g}" if self.most is None else f"{self.metric} <= {self.most:g}"

    def excess(self, value: float) -> float:
        """Returns how far a value is beyond the bound; 0 or less where it is kept."""
        if self.least is not None:
            return self.least - value
        assert self.most is not None  # one of both is given
        return value - self.most


class SamplerConfig(Strict):
    """How points are chosen."""

    name: Sampler = "tpe"
    """`tpe` (Optuna's multivariate one), `gp` (a Gaussian process that expects noise; for some dozens of dear trials),
    `cmaes` (one objective; draws categories at random), `random`, `qmc` (covers the space evenly), `grid` (every point;
    `trials` is ignored)."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Of the sampler. It repeats a sweep only as far as the trials end in the same order."""
    startup: int = Field(10, ge=1)
    """Random trials before tpe, gp or cmaes begins. More explore better, but leave fewer for the search itself."""


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
    prune: bool | Literal["auto"] = True
    """Stop weak trials after some evaluations (asynchronous successive halving). Saves time; may stop a trial that
    would have ended well. `auto`: only at rungs whose rank correlation with the last value is at least .5 over at least
    8 complete trials, of this sweep or of `rungs_from`. One objective only."""
    rungs_from: str | None = None
    """Name of an earlier `full` sweep in the same storage folder, for `prune: auto`. Its complete trials say which
    rungs tell, so that trials can be stopped from the first one on, and its confirmation how large the noise is."""
    noise: float | None = Field(None, ge=0)
    """For `prune: auto`: difference of the objective that means nothing, such as its standard deviation between seeds.
    A trial that is behind by less is not stopped. null = as `rungs_from` was confirmed, else 0."""
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


class ConfirmConfig(Strict):
    """The confirmation after the search: its best points and the base train with fresh seeds, compared in pairs."""

    top: int = Field(3, ge=1)
    """How many points are trained again. More find a good point that the search ranked low, cost `seeds` trainings
    each, and let a lucky one through more often."""
    seeds: int = Field(3, ge=2)
    """Trainings of each point and of the base, with the seeds after the base's own. More find smaller differences: one
    of twice the standard deviation of a pair's difference is found in 68 % of sweeps with 3, in 94 % with 5."""


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
    limits: dict[Fidelity, tuple[LimitConfig, ...]] = Field(default_factory=dict[Fidelity, tuple[LimitConfig, ...]])
    """{fidelity: limits}, such as the most noise: trials beyond one are no candidates, and tpe and gp learn to keep
    away from them. The other samplers take no notice, but the report does."""
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
    """Settings of the `full` fidelity; the confirmation trains over `full.cluster` too."""
    confirm: ConfirmConfig | None = None
    """Whether the best points must beat the base with other seeds before `best.yaml` names one; null = the best trial
    is taken as it is, which may be luck (overtuning, arXiv 2506.19540)."""

    @property
    def targets(self) -> tuple[ObjectiveConfig, ...]:
        """The objectives of the configured fidelity."""
        return self.objectives[self.fidelity]

    @property
    def bounds(self) -> tuple[LimitConfig, ...]:
        """The limits of the configured fidelity."""
        return self.limits.get(self.fidelity, ())

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
        for check_metric, chosen in ((check_objective, self.objectives), (check_limit, self.limits)):
            for fidelity, entries in chosen.items():
                for entry in entries:
                    try:
                        check_metric(entry.metric, fidelity)
                    except ConfigError as error:
                        raise ValueError(str(error)) from None
        if self.sampler.name == "cmaes" and len(self.targets) > 1:
            raise ValueError("sampler cmaes takes one objective; use tpe for several")
        if self.full.prune and self.fidelity == "full" and len(self.targets) > 1:
            raise ValueError("pruning follows one objective; set full.prune=false for several")
        if self.full.prune != "auto" and (self.full.rungs_from is not None or self.full.noise is not None):
            raise ValueError("full.rungs_from and full.noise are of full.prune=auto")
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
