"""A trial as the study keeps it, decoded in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial, FrozenTrial, TrialState

VALUES = "values"
"""User attribute of a trial: {configuration path: value}."""
KEY = "key"
"""User attribute: name of the trial's run."""
METRICS = "metrics"
"""User attribute: {metric: number}, of the last evaluation."""
SECONDS = "seconds"
"""User attribute: wall time."""
ERROR = "error"
"""User attribute of a failed trial: last line of its error."""
LOSSES = "losses"
"""User attribute: how often the trial's process was lost before this entry was queued."""
RESUMES = "resumes"
"""User attribute: number of the interrupted trial that this one continues."""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A closed trial.

    Attributes:
        number: Optuna's number of the trial.
        state: `COMPLETE`, `PRUNED` (stopped early) or `FAIL`.
        key: name of its run, which stays the same when a resumed sweep continues it.
        values: {configuration path: value}.
        metrics: all metrics; of a pruned trial those of its last evaluation.
        seconds: wall time.
        error: of a failed trial.
        exceeded: limits that it does not keep, by name.
    """

    number: int
    state: str
    key: str
    values: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    error: str = ""
    exceeded: tuple[str, ...] = ()

    @classmethod
    def of(cls, trial: FrozenTrial) -> "TrialRow":
        """Returns the row of a trial of the study."""
        attributes = trial.user_attrs
        return cls(
            number=trial.number,
            state=trial.state.name,
            key=trial_key(trial),
            values=attributes.get(VALUES, {}),
            metrics=attributes.get(METRICS, {}),
            seconds=attributes.get(SECONDS, 0.0),
            error=attributes.get(ERROR, "interrupted" if trial.state == TrialState.FAIL else ""),
            exceeded=tuple(name for name, excess in trial.constraints.items() if excess > 0),
        )


def trial_key(trial: BaseTrial) -> str:
    """Returns the name of a trial's run, which stays the same when a resumed sweep continues it."""
    return trial.user_attrs.get(KEY, f"{trial.number:05d}")
