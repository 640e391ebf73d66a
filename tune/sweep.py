"""A sweep on a cluster that this process has joined: its study, and Ray Tune over it."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import ray
import ray.tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from cluster.groups import remove_groups
from cluster.room import living_nodes
from cluster.storage import RunFolder
from tune.concurrency import features_concurrency
from tune.plan import Plan
from tune.roles import is_intra_clustering
from tune.study.progress import SweepProgress, TrialListener
from tune.study.pruning import RungScheduler
from tune.study.rungs import note_rungs
from tune.study.search import StudySearch
from tune.study.store import (
    count_drawn,
    make_sampler,
    open_study,
    own_trials,
    queue_points,
    requeue_failed,
    requeue_interrupted,
)
from tune.trials.features import features_trial
from tune.trials.full import TRAINED_EPOCHS, FullSettings, FullTrial
from tune.trials.result import result_key
from tune.trials.training import training_settings, trainings_at_once

log = logging.getLogger(__name__)
# The first warns of missing result files of the trials; the study has the results. The others say that a trial did not
# complete, which our own line says, with what becomes of it; the traceback is in `ray/SESSION/TRIAL/error.txt`.
_SILENCED = {
    "ray.tune.analysis.experiment_analysis": logging.ERROR,
    "ray.tune.tune": logging.CRITICAL,
    "ray.tune.execution.tune_controller": logging.CRITICAL,
}


def prepare_study(plan: Plan, *, retry_failed: bool = False) -> optuna.Study:
    """Returns the study, with the first points queued and interrupted trials queued again.

    Args:
        plan: the sweep.
        retry_failed: queue failed trials again too.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    modes = [target.mode for target in plan.sweep.targets]
    study = open_study(plan.folder, plan.sweep.storage, plan.folder.name, modes)
    if plan.sweep.fidelity == "full":
        note_rungs(study, plan.rungs if len(modes) == 1 else [], first_epoch=plan.first_epoch)
    requeue_interrupted(study)
    if retry_failed:
        log.info("%d failed trials are queued again", requeue_failed(study))
    queue_points(study, plan.space, plan.space.grid() if plan.sweep.sampler.name == "grid" else plan.points)
    study.sampler = make_sampler(plan.sweep.sampler, num_drawn=count_drawn(study))
    return study


def run_sweep(plan: Plan, study: optuna.Study, listener: TrialListener) -> int:
    """Runs the trials that the study lacks and returns how many it then has.

    Args:
        plan: the sweep.
        study: of `prepare_study`.
        listener: is called with each closed trial.

    Raises:
        KeyboardInterrupt: Ctrl-C; everything finished is in the study.
    """
    repeat = True
    while repeat and (missing := plan.num_trials - len(own_trials(study))) > 0:
        repeat = _run_trials(plan, study, listener, missing)
    return len(own_trials(study))


def trials_at_once(plan: Plan) -> int:
    """Returns how many trials run at once on the joined cluster.

    Raises:
        ConfigError: not even one fits.
    """
    if plan.sweep.fidelity == "features":
        options = plan.sweep.features
        cpus, gpus = options.cpus_per_trial, options.gpus_per_trial
        return features_concurrency(living_nodes(), cpus=cpus, gpus=gpus, limit=plan.max_concurrency)
    assert plan.cluster is not None
    return trainings_at_once(plan.cluster, limit=plan.max_concurrency)


def _run_trials(plan: Plan, study: optuna.Study, listener: TrialListener, count: int) -> bool:
    """Runs a session of Ray Tune; returns whether another one must repeat trials that were lost."""
    objectives = [target.metric for target in plan.sweep.targets]
    seconds = None if plan.deadline is None else plan.deadline - time.monotonic()
    if seconds is not None and seconds <= 0:
        return False
    search = StudySearch(plan.space, study, objectives, limits=plan.sweep.bounds, deadline=plan.deadline)
    progress = SweepProgress(
        search,
        study,
        objectives=objectives,
        num_trials=plan.num_trials,
        listener=listener,
        after_loss=lambda key: remove_groups(RunFolder(str(plan.folder / "trials"), key)),
    )
    full = plan.sweep.fidelity == "full"
    with _quiet():
        ray.tune.Tuner(
            _full_trainable(plan, objectives) if full else _features_trainable(plan),
            tune_config=ray.tune.TuneConfig(
                search_alg=search,
                scheduler=make_scheduler(plan, study),
                num_samples=count,
                max_concurrent_trials=trials_at_once(plan),
                time_budget_s=seconds,
                reuse_actors=not full,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=ray.tune.RunConfig(
                name=f"session-{os.getpid()}-{len(study.get_trials(deepcopy=False))}",
                storage_path=str((plan.folder / "ray").absolute()),
                callbacks=[progress],
                verbose=0,
                checkpoint_config=ray.tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=ray.tune.FailureConfig(max_failures=0),
            ),
        ).fit()
    return search.must_repeat()


def _features_trainable(plan: Plan) -> Any:
    """The bank goes to the object store once, and each process maps it."""
    threads, gpus = plan.sweep.features.cpus_per_trial, plan.sweep.features.gpus_per_trial
    shared = ray.tune.with_parameters(
        features_trial,
        bank=plan.bank,
        base=plan.base,
        draws=plan.sweep.features.draws,
        intra=any(map(is_intra_clustering, plan.space.paths)),
        num_threads=threads,
        gpus=gpus,
    )
    return ray.tune.with_resources(shared, {"cpu": threads, "gpu": gpus})


def _full_trainable(plan: Plan, objectives: list[str]) -> Any:
    assert plan.cluster is not None
    settings = FullSettings(
        training=training_settings(
            plan.cluster,
            storage=plan.folder / "trials",
            tracker=plan.sweep.tracker,
            local=plan.local,
            at_once=trials_at_once(plan),
        ),
        base=plan.base,
        objectives=tuple(objectives),
        first_epoch=plan.first_epoch,
        trial_hours=plan.sweep.full.trial_hours,
    )
    shared = ray.tune.with_parameters(FullTrial, settings=settings)
    # The trial's own process only waits. It reserves one byte of memory instead of a share of a CPU, so that the
    # workers still find whole CPUs.
    return ray.tune.with_resources(shared, ray.tune.PlacementGroupFactory([{"memory": 1.0}]))


def make_scheduler(plan: Plan, study: optuna.Study) -> TrialScheduler:
    """Returns the scheduler, which stops weak trials of a `full` sweep that prunes."""
    options = plan.sweep.full
    if plan.sweep.fidelity == "features" or not options.prune:
        return FIFOScheduler()
    target = plan.sweep.targets[0]
    if options.prune == "auto":
        return RungScheduler(
            study,
            epochs=plan.rungs,
            metric=result_key(target.metric),
            mode=target.mode,
            time=TRAINED_EPOCHS,
            factor=options.reduction_factor,
            earlier=plan.earlier,
            noise=options.noise,
        )
    return ASHAScheduler(
        time_attr=TRAINED_EPOCHS,
        metric=result_key(target.metric),
        mode=target.mode,
        max_t=plan.epochs_per_trial,
        grace_period=min(options.grace_epochs, plan.epochs_per_trial),
        reduction_factor=options.reduction_factor,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Tune without its own tables, loggers and snapshots: the study holds everything.

    Its handlers of signals outlive it, and would swallow the first Ctrl-C of the confirmation. So they are put back.
    """
    settings = {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    before = {name: logging.getLogger(name).level for name in _SILENCED}
    for name, level in _SILENCED.items():
        logging.getLogger(name).setLevel(level)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere Ray Tune sets none, and nobody may
            for number, handler in handlers.items():
                signal.signal(number, handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
