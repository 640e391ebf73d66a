"""A sweep on a cluster that this process has joined: its folder, its study, and Ray Tune over both."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from cluster.config import ClusterConfig
from cluster.train import local_defaults
from ecul.config import Config
from ecul.errors import ConfigError
from tune.concurrency import features_concurrency, full_concurrency
from tune.config import SweepConfig
from tune.space.search_space import SearchSpace
from tune.study.progress import SweepProgress, TrialListener
from tune.study.search import StudySearch
from tune.study.store import make_sampler, open_study, own_trials, queue_points, requeue_interrupted
from tune.trials.bank import TuningBank
from tune.trials.full import FullSettings, FullTrial, features_trial

SWEEP_FILE = "sweep.yaml"


@dataclass(frozen=True)
class Plan:
    """A checked sweep.

    Attributes:
        folder: of the sweep; its name is the sweep's.
        space: of its fidelity.
        base: configuration that trials change.
        points: tried first, in this order.
        bank: of a `features` sweep.
        cluster: of a `full` sweep.
        local: whether Ray is started by this command, whose trials then share out the machine's cores.
        first_epoch: epoch that the trials of a `full` sweep begin after.
        max_hours: stop after so long; None for never.
        concurrency: most trials at once; None for as many as fit.
    """

    sweep: SweepConfig
    folder: Path
    space: SearchSpace
    base: Config
    points: Sequence[dict[str, Any]]
    bank: TuningBank | None = None
    cluster: ClusterConfig | None = None
    local: bool = False
    first_epoch: int = 0
    max_hours: float | None = None
    concurrency: int | None = None

    @property
    def num_trials(self) -> int:
        """How many trials the sweep has when it is done."""
        return len(self.space.grid()) if self.sweep.sampler.name == "grid" else self.sweep.trials


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a sweep's folder; the system lets go of it when the process ends, however it ends.

    Raises:
        ConfigError: another process works on the sweep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"sweep {folder} is being run by another process") from None
        yield


def prepare_study(plan: Plan) -> optuna.Study:
    """Returns the study with first points queued and interrupted trials taken up again."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    modes = [target.mode for target in plan.sweep.targets]
    study = open_study(plan.folder, plan.sweep.storage, plan.folder.name, modes)
    requeue_interrupted(study)
    queue_points(study, plan.space, plan.space.grid() if plan.sweep.sampler.name == "grid" else plan.points)
    study.sampler = make_sampler(plan.sweep.sampler, num_trials_before=len(own_trials(study)))
    return study


def run_sweep(plan: Plan, study: optuna.Study, listener: TrialListener) -> int:
    """Runs the trials that the study lacks and returns how many it then has.

    Raises:
        KeyboardInterrupt: Ctrl-C; everything finished is in the study.
    """
    metrics = [target.metric for target in plan.sweep.targets]
    missing = plan.num_trials - len(own_trials(study))
    if missing > 0:
        seconds = None if plan.max_hours is None else plan.max_hours * 3600
        deadline = None if seconds is None else time.monotonic() + seconds
        search = StudySearch(
            plan.space, study, metrics, [target.mode for target in plan.sweep.targets], deadline=deadline
        )
        progress = SweepProgress(search, study, metrics=metrics, total=plan.num_trials, listener=listener)
        full = plan.sweep.fidelity == "full"
        with _quiet():
            ray.tune.Tuner(
                _full_trainable(plan, metrics) if full else _features_trainable(plan),
                tune_config=ray.tune.TuneConfig(
                    search_alg=search,
                    scheduler=_scheduler(plan),
                    num_samples=missing,
                    max_concurrent_trials=concurrency(plan),
                    time_budget_s=seconds,
                    reuse_actors=not full,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=ray.tune.RunConfig(
                    name=f"session-{os.getpid()}",
                    storage_path=str((plan.folder / "ray").absolute()),
                    callbacks=[progress],
                    verbose=0,
                    checkpoint_config=ray.tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=ray.tune.FailureConfig(max_failures=0),
                ),
            ).fit()
    return len(own_trials(study))


def concurrency(plan: Plan) -> int:
    """Returns how many trials run at once on the joined cluster.

    Raises:
        ConfigError: not even one fits.
    """
    from cluster.trainer import fitted, living_nodes

    nodes = living_nodes()
    if plan.cluster is None:
        cpus = plan.sweep.features.cpus_per_trial
        return features_concurrency(nodes, cpus_per_trial=cpus, wanted=plan.concurrency)
    return full_concurrency(nodes, fitted(plan.cluster, nodes), wanted=plan.concurrency)


def _features_trainable(plan: Plan) -> Any:
    """The bank goes to the object store once, and each process maps it."""
    threads = plan.sweep.features.cpus_per_trial
    shared = ray.tune.with_parameters(
        features_trial,
        bank=plan.bank,
        base=plan.base,
        intra=any(path.startswith("clustering.intra.") for path in plan.space.domains),
        num_threads=threads,
    )
    return ray.tune.with_resources(shared, {"cpu": threads})


def _full_trainable(plan: Plan, metrics: Sequence[str]) -> Any:
    assert plan.cluster is not None
    settings = FullSettings(
        base=plan.base,
        cluster=local_defaults(plan.cluster, at_once=concurrency(plan)) if plan.local else plan.cluster,
        storage=str((plan.folder / "trials").absolute()),
        tracker=plan.sweep.tracker,
        metrics=tuple(metrics),
        first_epoch=plan.first_epoch,
    )
    shared = ray.tune.with_parameters(FullTrial, settings=settings)
    # one byte of memory instead of a share of a CPU, so that the workers still find whole CPUs
    return ray.tune.with_resources(shared, ray.tune.PlacementGroupFactory([{"memory": 1.0}]))


def _scheduler(plan: Plan) -> TrialScheduler:
    options = plan.sweep.full
    if plan.sweep.fidelity == "features" or not options.prune:
        return FIFOScheduler()
    target = plan.sweep.targets[0]
    epochs = plan.base.num_epochs - plan.first_epoch
    return ASHAScheduler(
        time_attr="trained_epochs",
        metric=target.metric,
        mode=target.mode,
        max_t=epochs,
        grace_period=min(options.grace_epochs, epochs),
        reduction_factor=options.reduction_factor,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray Tune without its own tables, loggers and snapshots: the study holds everything."""
    settings = {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    # it looks for result files of trials, which the study replaces
    analysis = logging.getLogger("ray.tune.analysis.experiment_analysis")
    level = analysis.level
    analysis.setLevel(logging.ERROR)
    try:
        yield
    finally:
        analysis.setLevel(level)
