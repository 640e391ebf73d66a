"""What a sweep found: its trials, importance of the settings, and how well label-free signals rank the trials."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from tune.config import ObjectiveConfig
from tune.objectives import LABEL_FREE, SOURCE, VALIDATION_FEATURES, VALIDATION_FULL
from tune.ranks import spearman, spearman_interval
from tune.report.verdict import Confirmed
from tune.space.domains import Choice, Domain
from tune.space.search_space import SearchSpace
from tune.study.record import TrialRow
from tune.study.rungs import Rung, judge_rungs
from tune.study.store import own_trials, ranked_rows

FEWEST_FOR_IMPORTANCE = 8
FEWEST_FOR_AGREEMENT = 5


@dataclass(frozen=True)
class RankAgreement:
    """How a label-free signal agrees with the validation score.

    Attributes:
        signal: a label-free objective.
        spearman: rank correlation over the complete trials; nan where one of them is constant.
        interval: ends of its 95 % confidence interval.
        picked: mean validation score of the trials that have the best signal.
        tied: how many these are.
    """

    signal: str
    spearman: float
    interval: tuple[float, float]
    picked: float
    tied: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a report shows.

    Attributes:
        objectives: of the sweep.
        rows: closed trials in the order they began.
        ranked: complete ones that keep the limits, best first by the first objective.
        outside: complete ones that do not keep them.
        front: of several objectives, the trials that no other beats in all of them; empty with one objective.
        importance: of each path for being among the best trials by the first objective, summing to 1; empty with too
            few trials.
        conditional: paths that only some of the complete trials have.
        reference: the validation metric that label-free signals are compared with; empty where there is none.
        agreement: one entry a signal; empty with too few complete trials.
        rungs: how far each can be trusted; empty where there are none.
        confirmed: of the confirmation; None for a sweep without one.
    """

    objectives: Sequence[ObjectiveConfig]
    rows: Sequence[TrialRow]
    ranked: Sequence[TrialRow]
    outside: Sequence[TrialRow] = ()
    front: Sequence[TrialRow] = ()
    importance: Mapping[str, float] = field(default_factory=dict[str, float])
    conditional: Sequence[str] = ()
    reference: str = ""
    agreement: Sequence[RankAgreement] = ()
    rungs: Sequence[Rung] = ()
    confirmed: Confirmed | None = None


def analyse(study: optuna.Study, space: SearchSpace, objectives: Sequence[ObjectiveConfig]) -> Findings:
    """Returns what a study's closed trials say."""
    rows = [TrialRow.of(trial) for trial in own_trials(study)]
    finished = [row for row in rows if row.state == "COMPLETE"]
    complete = [row for row in finished if not row.exceeded]
    first = objectives[0]
    ranked = ranked_rows(study)
    on_front = {trial.number for trial in study.best_trials} if len(objectives) > 1 else set[int]()
    reference = reference_metric(complete, objectives)
    return Findings(
        objectives=objectives,
        rows=rows,
        ranked=ranked,
        outside=[row for row in finished if row.exceeded],
        front=[row for row in ranked if row.number in on_front],
        importance=importance(complete, space, first),
        conditional=[path for path in space.paths if len({path in row.values for row in complete}) == 2],
        reference=reference,
        agreement=rank_agreement(complete, reference) if reference and len(complete) >= FEWEST_FOR_AGREEMENT else (),
        rungs=judge_rungs(study),
    )


def importance(rows: Sequence[TrialRow], space: SearchSpace, target: ObjectiveConfig) -> dict[str, float]:
    """Returns how much each path matters for being among the best trials (PED-ANOVA), most important first.

    Paths that only some trials have are among them (conditional PED-ANOVA, arXiv 2601.20800).
    """
    if len(rows) < FEWEST_FOR_IMPORTANCE or len({row.metrics[target.metric] for row in rows}) < 2:
        return {}
    study = study_of_values(rows, space, target)
    if not any(trial.params for trial in study.get_trials(deepcopy=False)):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a condition that one or two trials met: no part of the sum
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=top_share(len(rows))))


def top_share(count: int) -> float:
    """Returns the share of the trials that importance takes for the best ones: a tenth, and five at least.

    With fewer the estimate is not stable (Optuna's documentation of PED-ANOVA).
    """
    return min(max(0.1, 5 / count), 0.5)


def study_of_values(rows: Sequence[TrialRow], space: SearchSpace, target: ObjectiveConfig) -> optuna.Study:
    """Returns a study of complete trials whose parameters are the paths that have several values.

    The trials are described by their values, not by Optuna's parameters, so that a path drawn as a share counts as
    itself.
    """
    varied = [path for path in space.paths if len({row.values[path] for row in rows if path in row.values}) > 1]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if target.mode == "max" else "minimize")
    for row in rows:
        domains = {path: space.domain_of(path, row.values) for path in varied if path in row.values}
        own = {path: _distribution(domain) for path, domain in domains.items() if domain is not None}
        parameters = {path: row.values[path] for path in own}
        study.add_trial(
            optuna.trial.create_trial(params=parameters, distributions=own, value=row.metrics[target.metric])
        )
    return study


def reference_metric(rows: Sequence[TrialRow], objectives: Sequence[ObjectiveConfig]) -> str:
    """Returns the validation objective, else the first validation metric that all trials have, else nothing."""
    targets = [target.metric for target in objectives if target.metric.startswith("validation_")]
    names = [*targets, "validation_map", "validation_cross_modality_f1", *VALIDATION_FULL, *VALIDATION_FEATURES]
    return next((name for name in names if rows and all(name in row.metrics for row in rows)), "")


def rank_agreement(rows: Sequence[TrialRow], reference: str) -> list[RankAgreement]:
    """Returns the agreement of each signal without this data set's identities with the reference, best first."""
    score = np.array([row.metrics[reference] for row in rows])
    entries: list[RankAgreement] = []
    for signal in (*LABEL_FREE, *SOURCE):
        if all(signal in row.metrics for row in rows):
            values = np.array([row.metrics[signal] for row in rows])
            best, correlation = values == values.max(), spearman(values, score)
            interval = spearman_interval(correlation, len(rows))
            entries.append(RankAgreement(signal, correlation, interval, float(score[best].mean()), int(best.sum())))
    return sorted(entries, key=lambda item: -item.spearman if math.isfinite(item.spearman) else math.inf)


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.options)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)
