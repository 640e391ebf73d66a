"""Trains the confirmation of a sweep on the joined cluster: the step after a search, and the command `tune.compare`."""

import logging
from dataclasses import dataclass
from pathlib import Path

from cluster.config import ClusterConfig
from ecul.config import Config
from tune.config import ConfirmConfig, SweepConfig
from tune.plan import Plan
from tune.space.search_space import SearchSpace
from tune.study.confirmation import (
    choose_candidates,
    confirmed_metric,
    disk_of,
    fresh_seeds,
    make_runs,
    read_confirmation,
    write_confirmation,
)
from tune.study.store import read_study
from tune.trials.grid import RepeatedRun
from tune.trials.repeated import train_missing
from tune.trials.repetition import RunsOnDisk

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ConfirmationSetting:
    """The searched sweep, and how its confirmation is laid over the joined cluster.

    Attributes:
        folder: of the sweep, which this process holds.
        sweep: its configuration.
        options: how many candidates and seeds.
        space: of the sweep.
        original: configuration that the sweep is for.
        base: configuration that its trials change.
        cluster: of each training, with `clustering.borrow` decided.
        local: whether Ray was started by this command.
        limit: most trainings at once; None for as many as fit.
        deadline: `time.monotonic()` at which it stops, to be continued later; None for no end.
    """

    folder: Path
    sweep: SweepConfig
    options: ConfirmConfig
    space: SearchSpace
    original: Config
    base: Config
    cluster: ClusterConfig
    local: bool
    limit: int | None = None
    deadline: float | None = None


def confirm(setting: ConfirmationSetting) -> int:
    """Trains the runs of the confirmation that are missing or failed; returns how many are still to be trained.

    Raises:
        ConfigError: the sweep has no trial, or the cluster is too small for one training.
        KeyboardInterrupt: Ctrl-C; complete runs are kept, others continue from their checkpoints.
    """
    study = read_study(setting.folder, setting.sweep.storage)
    top, disk = setting.options.top, disk_of(setting.folder)
    candidates = choose_candidates(study, setting.space, setting.base, top=top)
    seeds = fresh_seeds(setting.base, setting.options.seeds)
    starts, runs = make_runs(candidates, setting.original, setting.base, seeds, disk.folder) if candidates else ([], [])
    write_confirmation(setting.folder, candidates, runs, target=confirmed_metric(setting.sweep), top=top)
    text = ", ".join(item.name for item in candidates) or "no candidate"
    log.info("confirmation of %s against the base: %d trainings", text, len(runs))
    if disk.missing(runs):
        for group in (starts, runs):
            ready = [run for run in group if _can_begin(run, disk)]
            train_missing(
                ready,
                disk,
                cluster=setting.cluster,
                tracker=setting.sweep.tracker,
                local=setting.local,
                limit=setting.limit,
                deadline=setting.deadline,
            )
    failed = disk.failures()
    for run in runs:  # without its stage 1, a run can be neither trained nor waited for
        start = run.config.warm_start
        if start is not None and Path(start).name in failed:
            disk.note(run.key, f"its stage 1 failed: {failed[Path(start).name]}")
    return open_runs(setting.folder)


def confirm_plan(plan: Plan) -> int:
    """Confirms a searched sweep that has `confirm` set; returns how many trainings Ctrl-C or the time limit left."""
    if plan.sweep.confirm is None:
        return 0
    assert plan.cluster is not None
    setting = ConfirmationSetting(
        folder=plan.folder,
        sweep=plan.sweep,
        options=plan.sweep.confirm,
        space=plan.space,
        original=plan.original,
        base=plan.base,
        cluster=plan.cluster,
        local=plan.local,
        limit=plan.max_concurrency,
        deadline=plan.deadline,
    )
    try:
        return confirm(setting)
    except KeyboardInterrupt:
        return open_runs(plan.folder)


def open_runs(folder: Path) -> int:
    """Returns how many runs of a sweep's confirmation are neither complete nor failed."""
    confirmation = read_confirmation(folder)
    return 0 if confirmation is None else confirmation.num_open


def _can_begin(run: RepeatedRun, disk: RunsOnDisk) -> bool:
    """Whether the stage 1 that a run begins from is complete, if it is one of the confirmation's own."""
    start = run.config.warm_start
    return start is None or Path(start).parent != disk.folder or disk.is_complete(Path(start).name)
