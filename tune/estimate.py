"""How long a sweep will take, said before it starts."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

from ecul.engine.run_directory import read_records
from tune.concurrency import duration_text
from tune.sweep import Plan
from tune.trials.features import score_bank


def estimate_text(plan: Plan, at_once: int) -> str:
    """Returns one line for people; a `features` trial is timed here, a training by its warm start's epochs."""
    rounds = math.ceil(plan.num_trials / at_once)
    if plan.bank is not None:
        seconds = _features_seconds(plan)
        return (
            f"about {duration_text(rounds * seconds)}: one clustering of the base configuration takes {seconds:.1f} s "
            f"({len(plan.bank.train)} images)"
        )
    epochs = plan.base.num_epochs - plan.first_epoch
    seconds = _epoch_seconds(plan.sweep.full.warm_start)
    if seconds is None:
        return f"{epochs} epochs a trial, {rounds} rounds of trials; nothing to tell their length from"
    bound = "at most about" if plan.sweep.full.prune else "about"
    return (
        f"{bound} {duration_text(rounds * (epochs * seconds + _START_SECONDS))}: {epochs} epochs a trial of "
        f"{seconds:.0f} s as in the warm start"
    )


_START_SECONDS = 20.0


def _features_seconds(plan: Plan) -> float:
    """Seconds of a warm trial on this machine; the first call may compile."""
    assert plan.bank is not None
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        score_bank(plan.bank, plan.base, intra=False, num_threads=plan.sweep.features.cpus_per_trial)
        seconds = time.perf_counter() - start
    return seconds


def _epoch_seconds(warm_start: str | None) -> float | None:
    if warm_start is None:
        return None
    path = Path(warm_start)
    run = next((folder for folder in (path, *path.parents) if (folder / "metrics.jsonl").is_file()), None)
    records: list[Mapping[str, float]] = [] if run is None else [*read_records(run)]
    spans = [sum(value for name, value in r.items() if name.startswith("seconds/")) for r in records if r["epoch"]]
    return spans[-1] if spans else None
