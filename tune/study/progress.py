"""A line for each finished trial, and its error where it has one."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna
import ray.tune
from optuna.trial import FrozenTrial, TrialState

from tune.study.search import StudySearch
from tune.study.store import own_trials

log = logging.getLogger(__name__)


class TrialListener(Protocol):
    """Is told of each closed trial, in the driver."""

    def __call__(self, trial: FrozenTrial) -> None:
        """A trial was closed in the study."""
        ...


class SweepProgress(ray.tune.Callback):
    """Logs each trial as it ends and hands errors to the search."""

    def __init__(
        self, search: StudySearch, study: optuna.Study, *, metrics: Sequence[str], total: int, listener: TrialListener
    ) -> None:
        """Takes the search and its study.

        Args:
            search: closes failed trials with their error.
            study: of the sweep.
            metrics: objectives, for the line.
            total: trials that the sweep will have.
            listener: is told of each closed trial.
        """
        self._search = search
        self._study = study
        self._metrics = list(metrics)
        self._total = total
        self._listener = listener

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles its callbacks for a restore of its own, which sweeps do not use."""
        return {}

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """A trial ended by itself or was stopped early."""
        self._tell(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """A trial raised, or its process died."""
        self._search.record_error(trial.trial_id, error_text(trial))
        self._tell(trial.trial_id)

    def _tell(self, trial_id: str) -> None:
        number = self._search.trial(trial_id).number
        closed = self._study.get_trials(deepcopy=False)[number]
        if not closed.state.is_finished():
            return
        done = own_trials(self._study)
        log.info("%s", trial_line(closed, self._metrics, len(done), self._total))
        self._listener(closed)


def trial_line(trial: FrozenTrial, metrics: Sequence[str], done: int, total: int) -> str:
    """Returns a closed trial's one line for people."""
    head = f"{done}/{total}  trial {trial.number}"
    values = ", ".join(f"{path}={short(value)}" for path, value in trial.user_attrs.get("values", {}).items())
    if trial.state == TrialState.FAIL:
        return f"{head}  FAILED: {trial.user_attrs.get('error', 'interrupted')}  ({values})"
    figures: Mapping[str, float] = trial.user_attrs.get("metrics", {})
    shown = "  ".join(f"{name} {figures[name]:.4f}" for name in metrics if name in figures)
    return f"{head}{'  stopped early' if trial.state == TrialState.PRUNED else ''}  {shown}  ({values})"


def error_text(trial: Any) -> str:
    """Returns the last line of a Ray Tune trial's error.

    It is read where the driver writes it: `Trial.get_error` looks where it is copied to after the callbacks.
    """
    file = trial.error_file
    return last_line(Path(file).read_text()) if file and Path(file).is_file() else "its process died"


def short(value: Any) -> str:
    """Returns a value with at most four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def last_line(text: str) -> str:
    """Returns the last line of an error text that says something."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no error text"
