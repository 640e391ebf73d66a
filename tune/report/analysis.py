"""What a sweep found: its trials as rows, importance of the parameters, and how well label-free signals rank."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import rankdata

from tune.config import ObjectiveConfig
from tune.objectives import LABEL_FREE, VALIDATION_FEATURES, VALIDATION_FULL
from tune.space.search_space import Choice, Domain, SearchSpace, Value
from tune.study.store import own_trials, trial_key

FEWEST_FOR_IMPORTANCE = 8
FEWEST_FOR_AGREEMENT = 5


@dataclass(frozen=True)
class Row:
    """A closed trial.

    Attributes:
        state: `COMPLETE`, `PRUNED` or `FAIL`.
        values: {configuration path: value}.
        metrics: all figures; of a pruned trial those of its last evaluation.
        key: name of its run.
    """

    number: int
    state: str
    key: str
    values: Mapping[str, Value]
    metrics: Mapping[str, float]
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class RankAgreement:
    """How a label-free signal agrees with the validation score.

    Attributes:
        spearman: rank correlation over the complete trials; nan where one of them is constant.
        picked: validation score of the trial that the signal likes best.
    """

    signal: str
    spearman: float
    picked: float


@dataclass(frozen=True)
class Findings:
    """All that a report shows.

    Attributes:
        rows: closed trials in the order they began.
        ranked: complete ones, best first by the first objective.
        front: not beaten in all objectives by another.
        importance: of each path for the first objective, summing to 1; empty with too few trials.
        judge: the validation figure that label-free signals are held against; empty where there is none.
        agreement: one entry a signal; empty with too few complete trials.
    """

    objectives: Sequence[ObjectiveConfig]
    rows: Sequence[Row]
    ranked: Sequence[Row]
    front: Sequence[Row]
    importance: Mapping[str, float] = field(default_factory=dict[str, float])
    judge: str = ""
    agreement: Sequence[RankAgreement] = ()


def analyse(study: optuna.Study, space: SearchSpace, objectives: Sequence[ObjectiveConfig]) -> Findings:
    """Returns what a study's closed trials say."""
    rows = [_row(trial) for trial in own_trials(study)]
    complete = [row for row in rows if row.state == "COMPLETE"]
    first = objectives[0]
    ranked = sorted(complete, key=lambda row: _cost(row, first))
    judge = judging_figure(complete, objectives)
    return Findings(
        objectives=objectives,
        rows=rows,
        ranked=ranked,
        front=[row for row in ranked if not any(_beats(other, row, objectives) for other in complete)],
        importance=importance(complete, space, first.metric),
        judge=judge,
        agreement=rank_agreement(complete, judge) if judge and len(complete) >= FEWEST_FOR_AGREEMENT else (),
    )


def importance(rows: Sequence[Row], space: SearchSpace, metric: str) -> dict[str, float]:
    """Returns each path's share of the metric's variance (fANOVA), of paths that every trial has.

    The trials are described by their values, not by Optuna's parameters, so that a path drawn as a share counts as
    itself.
    """
    common = [path for path in space.domains if all(path in row.values for row in rows)]
    varied = [path for path in common if len({row.values[path] for row in rows}) > 1]
    if len(rows) < FEWEST_FOR_IMPORTANCE or not varied or len({row.metrics[metric] for row in rows}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    distributions = {path: _distribution(space.domains[path]) for path in varied}
    for row in rows:
        parameters = {path: row.values[path] for path in varied}
        study.add_trial(
            optuna.trial.create_trial(params=parameters, distributions=distributions, value=row.metrics[metric])
        )
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))


def judging_figure(rows: Sequence[Row], objectives: Sequence[ObjectiveConfig]) -> str:
    """Returns the validation objective, else the first validation figure that all trials have, else nothing."""
    wanted = [target.metric for target in objectives if target.metric.startswith("validation_")]
    known = [*wanted, "validation_map", "validation_cross_modality_f1", *VALIDATION_FULL, *VALIDATION_FEATURES]
    return next((name for name in known if rows and all(name in row.metrics for row in rows)), "")


def rank_agreement(rows: Sequence[Row], judge: str) -> list[RankAgreement]:
    """Returns each label-free signal's agreement with the judging figure, best correlation first."""
    score = np.array([row.metrics[judge] for row in rows])
    found: list[RankAgreement] = []
    for signal in LABEL_FREE:
        if all(signal in row.metrics for row in rows):
            values = np.array([row.metrics[signal] for row in rows])
            found.append(RankAgreement(signal, spearman(values, score), float(score[int(values.argmax())])))
    return sorted(found, key=lambda item: -item.spearman if math.isfinite(item.spearman) else math.inf)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the rank correlation, ties at their mean rank; nan where one side is constant."""
    ranks = [rankdata(values) for values in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    length = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum() / length) if length else math.nan


def _row(trial: FrozenTrial) -> Row:
    attributes = trial.user_attrs
    return Row(
        number=trial.number,
        state=trial.state.name,
        key=trial_key(trial),
        values=attributes.get("values", {}),
        metrics=attributes.get("metrics", {}),
        seconds=attributes.get("seconds", 0.0),
        error=attributes.get("error", "interrupted" if trial.state == TrialState.FAIL else ""),
    )


def _cost(row: Row, objective: ObjectiveConfig) -> float:
    value = row.metrics[objective.metric]
    return -value if objective.mode == "max" else value


def _beats(other: Row, row: Row, objectives: Sequence[ObjectiveConfig]) -> bool:
    pairs = [(_cost(other, target), _cost(row, target)) for target in objectives]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.options)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)
