"""What a trial reports to Ray Tune, and how it is read back.

A result is `{"metrics": {name: number}, "finished": bool, ...}`. Ray Tune hands it to searches and schedulers with
flat keys, `metrics/NAME`. The names are those of `tune.objectives`.
"""

from collections.abc import Mapping
from typing import Any

_METRICS = "metrics"
_FINISHED = "finished"


def trial_result(metrics: Mapping[str, float], *, finished: bool) -> dict[str, Any]:
    """Returns a result.

    Args:
        metrics: by name.
        finished: whether the trial is through; False for an epoch before its last.
    """
    return {_METRICS: dict(metrics), _FINISHED: finished}


def result_key(metric: str) -> str:
    """Returns the flat key of a metric."""
    return f"{_METRICS}/{metric}"


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of a flat result, by name."""
    prefix = result_key("")
    return {
        name.removeprefix(prefix): float(value)
        for name, value in result.items()
        if name.startswith(prefix) and isinstance(value, int | float)
    }


def is_finished(result: Mapping[str, Any]) -> bool:
    """Returns whether the trial is through."""
    return bool(result.get(_FINISHED, False))
