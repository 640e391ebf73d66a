"""A line for each finished trial, and its error where it has one."""

import logging
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import ray.tune

from cluster.failures import is_lost
from tune.study.record import TrialRow
from tune.study.search import StudySearch
from tune.study.store import own_trials
from tune.text import values_text

log = logging.getLogger(__name__)
TrialListener = Callable[[TrialRow], None]
"""Called in the driver with each closed trial."""


class SweepProgress(ray.tune.Callback):
    """Logs each trial as it ends and hands errors to the search."""

    def __init__(
        self,
        search: StudySearch,
        study: optuna.Study,
        *,
        objectives: Sequence[str],
        num_trials: int,
        listener: TrialListener,
        after_loss: Callable[[str], Any] = lambda key: None,
    ) -> None:
        """Takes the search and its study.

        Args:
            search: closes failed trials with their error.
            study: of the sweep.
            objectives: names of the metrics in the line.
            num_trials: trials that the sweep will have.
            listener: is called with each closed trial.
            after_loss: is called with the key of each trial whose process was lost, to give back what it had reserved.
        """
        self._search = search
        self._study = study
        self._objectives = list(objectives)
        self._num_trials = num_trials
        self._listener = listener
        self._after_loss = after_loss

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles its callbacks for a restore of its own, which sweeps do not use."""
        return {}

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """A trial ended by itself or was stopped early."""
        self._report(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """A trial raised, or its process died."""
        text = error_text(trial)
        if was_lost(trial):
            self._after_loss(self._search.key_of(trial.trial_id))
            if self._search.repeat_lost(trial.trial_id, text):
                number = self._search.number_of(trial.trial_id)
                log.warning("trial %d: its process was lost (%s); it is queued again", number, text)
                return
        self._search.record_error(trial.trial_id, text)
        self._report(trial.trial_id)

    def _report(self, trial_id: str) -> None:
        trial = self._study.get_trials(deepcopy=False)[self._search.number_of(trial_id)]
        if not trial.state.is_finished():  # cut off by the time limit, and left open for a resume
            return
        row = TrialRow.of(trial)
        log.info("%s", trial_line(row, self._objectives, len(own_trials(self._study)), self._num_trials))
        self._listener(row)


def trial_line(row: TrialRow, objectives: Sequence[str], done: int, num_trials: int) -> str:
    """Returns the one-line summary of a closed trial.

    Args:
        row: the trial.
        objectives: names of the metrics to show.
        done: closed trials so far.
        num_trials: trials that the sweep will have.
    """
    head = f"{done}/{num_trials}  trial {row.number}"
    values = values_text(row.values)
    if row.state == "FAIL":
        return f"{head}  FAILED: {row.error}  ({values})"
    scores = "  ".join(f"{name} {row.metrics[name]:.4f}" for name in objectives if name in row.metrics)
    return f"{head}{'  stopped early' if row.state == 'PRUNED' else ''}  {scores}  ({values})"


def error_text(trial: Any) -> str:
    """Returns the last line of a Ray Tune trial's error; of one of ours the text alone.

    It is read where the driver writes it: `Trial.get_error` reads the copy that is made after the callbacks.
    """
    file = trial.error_file
    if not file or not Path(file).is_file():
        return "its process died"
    return re.sub(r"^ecul\.errors\.\w+: ", "", last_line(Path(file).read_text()))


def was_lost(trial: Any) -> bool:
    """Returns whether a Ray Tune trial ended because a process or a node was lost."""
    file = trial.pickled_error_file
    if not file or not Path(file).is_file():  # Ray pickles errors of tasks and actors alone
        return False
    return is_lost(pickle.loads(Path(file).read_bytes()))


def last_line(text: str) -> str:
    """Returns the last line of an error text that is not blank."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no error text"
