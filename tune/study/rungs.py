"""Rungs: the epochs at which weak trials may be stopped, and how well a trial's value there tells its last one.

Pruning follows early values. Where these rank the trials otherwise than the last ones do, it stops the good ones. So a
sweep with `full.prune: auto` stops trials only at rungs whose rank correlation with the last value is known and high.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from ecul.engine.run_directory import read_records
from ecul.errors import ConfigError
from tune.folder import read_sweep
from tune.objectives import recorded_metrics
from tune.ranks import spearman, spearman_interval
from tune.study.confirmation import Confirmation, disk_of, read_confirmation
from tune.study.store import own_trials, read_study
from tune.trials.repetition import RunsOnDisk

FEWEST_TRIALS = 8
"""Complete trials that a rung is judged by; fewer say nothing: with 5, a correlation of .5 comes by chance in one sweep
out of five, with 8 in one out of ten."""
LEAST_CORRELATION = 0.5
_ATTRIBUTE = "rungs"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How far a rung can be trusted.

    Attributes:
        epochs: that a trial has trained there, counted from its own first.
        spearman: rank correlation of the values there with the last ones; nan where one side is constant.
        interval: ends of its 95 % confidence interval.
        trials: complete trials that this is over.
    """

    epochs: int
    spearman: float
    interval: tuple[float, float]
    trials: int

    @property
    def is_trusted(self) -> bool:
        """Whether trials may be stopped there."""
        return self.trials >= FEWEST_TRIALS and self.spearman >= LEAST_CORRELATION


def rung_epochs(grace: int, factor: int, longest: int) -> list[int]:
    """Returns the epochs of the rungs, counted from a trial's first, as successive halving has them.

    Args:
        grace: of the first rung.
        factor: from each rung to the next.
        longest: epochs of the longest trial; its end is no rung.
    """
    rungs: list[int] = []
    while (epochs := grace * factor ** len(rungs)) < longest:
        rungs.append(epochs)
    return rungs


def note_rungs(study: optuna.Study, epochs: Sequence[int], *, first_epoch: int) -> None:
    """Keeps in the study where its rungs are, for reports and for later sweeps.

    Args:
        study: of the sweep, which this process holds.
        epochs: of `rung_epochs`.
        first_epoch: the epoch that its trials begin after.
    """
    study.set_user_attr(_ATTRIBUTE, {"epochs": list(epochs), "first_epoch": first_epoch})


def judge_rungs(study: optuna.Study, epochs: Sequence[int] | None = None) -> list[Rung]:
    """Returns how far each rung can be trusted, by the complete trials of a study.

    Args:
        study: of a sweep with one objective; another one has no rungs.
        epochs: of other rungs, counted from a trial's first epoch; None for the study's own.
    """
    noted = study.user_attrs.get(_ATTRIBUTE)
    if noted is None:
        return []
    complete = own_trials(study, (TrialState.COMPLETE,))
    rungs: list[Rung] = []
    for trained in noted["epochs"] if epochs is None else epochs:
        pairs = [pair for trial in complete if (pair := _pair(trial, noted["first_epoch"] + trained)) is not None]
        rungs.append(_judged(trained, np.array(pairs).reshape(-1, 2)))
    return rungs


def value_at(trial: FrozenTrial, epoch: int) -> float | None:
    """Returns a trial's value at the first evaluated epoch from a given one on; None if it has not come so far."""
    evaluated = _evaluated(trial, epoch)
    return None if evaluated is None else trial.intermediate_values[evaluated]


def first_epoch_of(study: optuna.Study) -> int:
    """Returns the epoch that a study's trials begin after."""
    return study.user_attrs.get(_ATTRIBUTE, {}).get("first_epoch", 0)


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What an earlier sweep tells about rungs.

    Attributes:
        rungs: {epochs: rung}, of those that it has enough complete trials for.
        noise: {epochs: standard deviation of the objective between seeds}; 0 where it was not confirmed.
    """

    rungs: Mapping[int, Rung]
    noise: Mapping[int, float]


NO_EARLIER = Earlier(rungs={}, noise={})
"""Where no sweep is named."""


def earlier_sweep(folder: Path, epochs: Sequence[int], metric: str) -> Earlier:
    """Returns what an earlier sweep tells about the rungs of another one.

    Args:
        folder: of the earlier sweep.
        epochs: of the rungs, counted from a trial's first epoch.
        metric: objective of both.

    Raises:
        ConfigError: there is no such sweep, or it trained nothing, or for another objective.
    """
    sweep = read_sweep(folder)
    if sweep.fidelity != "full" or [target.metric for target in sweep.targets] != [metric]:
        given = f"fidelity {sweep.fidelity} for {', '.join(target.metric for target in sweep.targets)}"
        raise ConfigError(f"sweep {folder.name} is of {given}; expected fidelity full for {metric}")
    study = read_study(folder, sweep.storage)
    confirmation = read_confirmation(folder)
    noise = dict.fromkeys(epochs, 0.0)
    if confirmation is not None and confirmation.metric == metric:
        first = first_epoch_of(study)
        found = {rung: noise_at(confirmation, disk_of(folder), first + rung) for rung in epochs}
        noise |= {rung: value for rung, value in found.items() if not math.isnan(value)}
    judged = {rung.epochs: rung for rung in judge_rungs(study, epochs)}
    return Earlier(rungs={at: rung for at, rung in judged.items() if rung.trials >= FEWEST_TRIALS}, noise=noise)


def noise_at(confirmation: Confirmation, disk: RunsOnDisk, epoch: int) -> float:
    """Returns the standard deviation of the metric between seeds, over the base and all candidates.

    Args:
        confirmation: of a sweep.
        disk: its runs.
        epoch: at which it is measured, else the next evaluated one; nan where no two runs have one.
    """
    squares, freedom = 0.0, 0
    for name, keys in confirmation.keys.items():
        found = [_metric_at(disk, keys[seed], confirmation.metric, epoch) for seed in confirmation.scores[name]]
        known = np.array([value for value in found if value is not None])
        if len(known) > 1:
            squares += float(((known - known.mean()) ** 2).sum())
            freedom += len(known) - 1
    return math.sqrt(squares / freedom) if freedom else math.nan


def _metric_at(disk: RunsOnDisk, key: str, metric: str, epoch: int) -> float | None:
    for record in read_records(disk.folder / key):
        metrics: Mapping[str, float] = recorded_metrics(record)
        if record["epoch"] >= epoch and metric in metrics:
            return metrics[metric]
    return None


def _evaluated(trial: FrozenTrial, epoch: int) -> int | None:
    return min((evaluated for evaluated in trial.intermediate_values if evaluated >= epoch), default=None)


def _pair(trial: FrozenTrial, epoch: int) -> tuple[float, float] | None:
    """A trial's value at a rung and its last one; None for a trial that ended there, where both are the same."""
    early = _evaluated(trial, epoch)
    last = max(trial.intermediate_values, default=0)
    if early is None or early == last:
        return None
    return trial.intermediate_values[early], trial.intermediate_values[last]


def _judged(trained: int, pairs: np.ndarray) -> Rung:
    correlation = spearman(pairs[:, 0], pairs[:, 1]) if len(pairs) > 1 else math.nan
    interval = spearman_interval(correlation, len(pairs))
    return Rung(epochs=trained, spearman=correlation, interval=interval, trials=len(pairs))
