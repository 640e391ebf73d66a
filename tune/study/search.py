"""Ray Tune's Optuna search, with everything that is known of a trial kept in the study."""

import pickle
import time
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from tune.space.search_space import SearchSpace
from tune.study.store import finite, trial_key

METRICS = "metrics"


class StudySearch(OptunaSearch):
    """`OptunaSearch` whose study is the only record of the sweep.

    Trials carry the user attributes `values` (configuration path: value), `key` (name of the run), `metrics` (all
    figures), `seconds`, and `error`. A trial that a scheduler stopped is PRUNED and one that raised is FAILED with its
    error, where the parent class would call both COMPLETE if they had reported a value.
    """

    def __init__(
        self,
        space: SearchSpace,
        study: optuna.Study,
        metrics: Sequence[str],
        modes: Sequence[str],
        *,
        deadline: float | None = None,
    ) -> None:
        """Takes an opened study with its sampler set.

        Args:
            space: what to draw from.
            study: the sweep's study.
            metrics: figures to optimise, in the study's order.
            modes: `max` or `min`, one a metric.
            deadline: `time.monotonic()` from which unfinished trials were cut off, to be taken up by a resume.
        """
        single = len(metrics) == 1
        super().__init__(
            space,
            metric=metrics[0] if single else list(metrics),
            mode=modes[0] if single else list(modes),
            sampler=study.sampler,
            study_name=study.study_name,
            storage=study._storage,
        )
        self._ot_study = study
        self._names = list(metrics)
        self._study = study
        self._deadline = deadline

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Returns a trial's `values` and its `key`."""
        drawn = super().suggest(trial_id)
        if drawn is None:
            return None
        trial = self._ot_trials[trial_id]
        key = trial_key(trial)
        trial.set_user_attr("values", drawn["values"])
        trial.set_user_attr("key", key)
        return {"values": drawn["values"], "key": key}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Keeps an intermediate value, by epoch."""
        if len(self._names) == 1 and "epoch" in result and finite([result.get(self._names[0])]):
            self._ot_trials[trial_id].report(result[self._names[0]], int(result["epoch"]))

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """Closes a trial; one that raised waits for its error text (`record_error`)."""
        if trial_id in self._completed_trials or error:
            return
        trial = self._ot_trials[trial_id]
        result = result or {}
        if not result.get("finished", False) and self._deadline is not None and time.monotonic() >= self._deadline:
            return
        trial.set_user_attr(METRICS, figures(result))
        trial.set_user_attr("seconds", result.get("time_total_s", 0.0))
        values = [result.get(name, float("nan")) for name in self._names]
        if not finite(values):
            self._close(trial_id, TrialState.FAIL, error=f"not finite: {dict(zip(self._names, values, strict=True))}")
        elif not result.get("finished", True):
            self._close(trial_id, TrialState.PRUNED)
        else:
            self._close(trial_id, TrialState.COMPLETE, values=values)

    def record_error(self, trial_id: str, text: str) -> None:
        """Closes a trial that raised."""
        if trial_id in self._ot_trials and trial_id not in self._completed_trials:
            self._close(trial_id, TrialState.FAIL, error=text)

    def trial(self, trial_id: str) -> optuna.Trial:
        """The study's trial of a Ray Tune trial."""
        return self._ot_trials[trial_id]

    def save(self, checkpoint_path: str) -> None:
        """Writes nothing of worth: the study is on disk after every step."""
        with open(checkpoint_path, "wb") as file:
            pickle.dump({}, file)

    def _close(
        self, trial_id: str, state: TrialState, *, values: list[float] | None = None, error: str | None = None
    ) -> None:
        trial = self._ot_trials[trial_id]
        if error is not None:
            trial.set_user_attr("error", error)
        self._study.tell(trial, values, state=state)
        self._completed_trials.add(trial_id)


def figures(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a Ray Tune result that are ours."""
    return {
        name.removeprefix("figures/"): float(value)
        for name, value in result.items()
        if name.startswith("figures/") and isinstance(value, int | float)
    }
