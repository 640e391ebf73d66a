"""Ray Tune's access to the study: each trial is asked from it and told to it, and everything known is kept there."""

import math
import pickle
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.trial import TrialState
from ray.tune.search.searcher import Searcher

from tune.config import LimitConfig
from tune.space.search_space import SearchSpace
from tune.study.record import ERROR, KEY, LOSSES, METRICS, SECONDS, VALUES, trial_key
from tune.study.store import queue_again
from tune.trials.result import is_finished, metrics_of
from tune.trials.training import MOST_LOSSES

MOST_ALIKE = 3
"""So many first trials that fail with the same error end the sweep: what is wrong lies in none of their values."""


class StudySearch(Searcher):
    """A search whose Optuna study is the only record of the sweep.

    Ray's own `OptunaSearch` keeps less: it calls a trial that was stopped early, or that raised after its first
    evaluation, COMPLETE. Here the first is PRUNED and the second FAIL, with its error. `tune.study.record` names what
    a trial holds.
    """

    def __init__(
        self,
        space: SearchSpace,
        study: optuna.Study,
        objectives: Sequence[str],
        *,
        limits: Sequence[LimitConfig] = (),
        deadline: float | None = None,
    ) -> None:
        """Takes an opened study with its sampler set.

        Args:
            space: what to draw from.
            study: the sweep's study.
            objectives: names of the metrics to optimise, in the study's order.
            limits: of the sweep. A trial that does not keep one is kept as such, and is no failure.
            deadline: `time.monotonic()` at which the sweep ends. Trials that it cuts off stay open, so that a resumed
                sweep continues them; None for no end.
        """
        super().__init__()
        self._space = space
        self._study = study
        self._objectives = list(objectives)
        self._limits = list(limits)
        self._deadline = deadline
        self._trials: dict[str, optuna.Trial] = {}
        self._closed: set[str] = set()
        self._num_lost = 0
        self._errors: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Returns a trial's `values`, {configuration path: value}, and its `key`, the name of its run.

        Returns Tune's word for the end where the first trials all failed in the same way.
        """
        if len(self._closed) >= MOST_ALIKE and self._all_failed_alike():
            return cast("dict[str, Any]", Searcher.FINISHED)
        trial = self._study.ask()
        self._trials[trial_id] = trial
        values, key = self._space.sample(trial), trial_key(trial)
        trial.set_user_attr(VALUES, values)
        trial.set_user_attr(KEY, key)
        return {"values": values, "key": key}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keeps the objective of an epoch; Optuna has no intermediate values for several objectives."""
        if len(self._objectives) > 1 or "epoch" not in result:
            return
        value = metrics_of(result).get(self._objectives[0], math.nan)
        if math.isfinite(value):
            self._trials[trial_id].report(value, int(result["epoch"]))

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Closes a trial; one that raised waits for its error text (`record_error`)."""
        if trial_id in self._closed or error:
            return
        result = result or {}
        finished = is_finished(result)
        if not finished and self._deadline is not None and time.monotonic() >= self._deadline:
            return
        trial, metrics = self._trials[trial_id], metrics_of(result)
        trial.set_user_attr(METRICS, metrics)
        trial.set_user_attr(SECONDS, result.get("time_total_s", 0.0))
        values = {name: metrics.get(name, math.nan) for name in self._objectives}
        # a trial that was stopped in stage 1 has no united clustering yet
        limits = [limit for limit in self._limits if finished or limit.metric in metrics]
        values_and_limits = values | {limit.metric: metrics.get(limit.metric, math.nan) for limit in limits}
        if not all(map(math.isfinite, values_and_limits.values())):
            self._close(trial_id, TrialState.FAIL, error=f"not finite: {values_and_limits}")
            return
        for limit in limits:
            trial.set_constraint(limit.name, limit.excess(metrics[limit.metric]))
        if finished:
            self._close(trial_id, TrialState.COMPLETE, values=[*values.values()])
        else:
            self._close(trial_id, TrialState.PRUNED)

    def record_error(self, trial_id: str, text: str) -> None:
        """Closes a trial that raised."""
        if trial_id in self._trials and trial_id not in self._closed:
            self._close(trial_id, TrialState.FAIL, error=text)
            self._errors[trial_id] = text

    def repeat_lost(self, trial_id: str, text: str) -> bool:
        """Queues a trial again whose process was lost, and returns whether it did.

        It keeps its key, so that a full trial continues from its run's newest checkpoint. A trial that was lost too
        often, perhaps because it needs more memory than there is, is left as it is.

        Args:
            trial_id: of Ray Tune.
            text: of the error.
        """
        trial = self._trials[trial_id]
        losses = trial.user_attrs.get(LOSSES, 0) + 1
        if losses > MOST_LOSSES:
            return False
        self._close(trial_id, TrialState.FAIL, error=text)
        queue_again(self._study, trial, **{LOSSES: losses})
        self._num_lost += 1
        return True

    def must_repeat(self) -> bool:
        """Returns whether trials were lost while all others ended by themselves: the lost ones need another session."""
        return self._num_lost > 0 and len(self._closed) == len(self._trials)

    def key_of(self, trial_id: str) -> str:
        """Returns the key of a Ray Tune trial, which is the name of its run."""
        return trial_key(self._trials[trial_id])

    def number_of(self, trial_id: str) -> int:
        """Returns the study's number of a Ray Tune trial."""
        return self._trials[trial_id].number

    def save(self, checkpoint_path: str) -> None:
        """Writes an empty state, which Ray Tune asks for; the study itself is on disk after every step."""
        with open(checkpoint_path, "wb") as file:
            pickle.dump({}, file)

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: a sweep is resumed from its study."""

    def _all_failed_alike(self) -> bool:
        return self._closed == set(self._errors) and len(set(self._errors.values())) == 1

    def _close(
        self, trial_id: str, state: TrialState, *, values: list[float] | None = None, error: str | None = None
    ) -> None:
        trial = self._trials[trial_id]
        if error is not None:
            trial.set_user_attr(ERROR, error)
        self._study.tell(trial, values, state=state)
        self._closed.add(trial_id)
