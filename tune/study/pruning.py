"""The scheduler of `full.prune: auto`: it stops weak trials only where their early values are known to tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune.study.record import trial_key
from tune.study.rungs import Earlier, Rung, first_epoch_of, judge_rungs, value_at

_COMPARED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class RungScheduler(FIFOScheduler):
    """Asynchronous successive halving over the study, which also knows the trials before a resume.

    At a rung, a trial is held against the values of all other trials there, as Ray's `ASHAScheduler` does. It is
    stopped if it is below the best `1 / factor` of them by more than the known noise, and the rung is trusted.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        epochs: Sequence[int],
        metric: str,
        mode: str,
        time: str,
        factor: int,
        earlier: Earlier,
        noise: float | None,
    ) -> None:
        """Takes the study and what is known beforehand.

        Args:
            study: of the sweep.
            epochs: of the rungs, counted from a trial's first.
            metric: key of the objective in a result.
            mode: `max` or `min`.
            time: key of the trained epochs in a result.
            factor: one in so many trials goes on.
            earlier: sweep whose trials tell about the rungs; what it has too few of, this study tells.
            noise: difference of the objective that means nothing; None for the earlier sweep's.
        """
        super().__init__()
        self._study = study
        self._epochs = list(epochs)
        self._metric, self._time = metric, time
        self._sign = 1 if mode == "max" else -1
        self._percentile = (1 - 1 / factor) * 100
        self._known = earlier.rungs
        self._noise = earlier.noise if noise is None else dict.fromkeys(epochs, noise)
        self._judged: dict[str, int] = {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        """Returns STOP for a trial that is clearly weak at a trusted rung, and CONTINUE for all others."""
        if self._time not in result or self._metric not in result:
            return TrialScheduler.CONTINUE
        reached = [epochs for epochs in self._epochs if epochs <= result[self._time]]
        if not reached or self._judged.get(trial.trial_id, 0) >= reached[-1]:
            return TrialScheduler.CONTINUE
        rung = reached[-1]
        self._judged[trial.trial_id] = rung
        others = self._values_at(rung, but=trial.config["key"])
        value = self._sign * result[self._metric]
        if not others or not value < np.percentile(others, self._percentile) - self._noise.get(rung, 0.0):
            return TrialScheduler.CONTINUE
        return TrialScheduler.STOP if self._rung(rung).is_trusted else TrialScheduler.CONTINUE

    def _values_at(self, rung: int, *, but: str) -> list[float]:
        """The signed values of the other trials at a rung."""
        epoch = first_epoch_of(self._study) + rung
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if trial.state in _COMPARED]
        found = [value_at(trial, epoch) for trial in trials if trial_key(trial) != but]
        return [self._sign * value for value in found if value is not None]

    def _rung(self, epochs: int) -> Rung:
        if epochs in self._known:
            return self._known[epochs]
        (rung,) = judge_rungs(self._study, [epochs])
        return rung
