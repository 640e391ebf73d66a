"""What Ray Tune runs for each trial: a clustering of the shared bank, or a whole training."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
import ray.tune

from cluster.config import ClusterConfig
from cluster.failures import describe
from cluster.storage import RunFolder, epoch_records
from ecul.config import Config
from ecul.errors import EculError, TrainingError
from ecul.settings import config_tree
from tune.objectives import label_free_figures
from tune.space.build import trial_config
from tune.trials.bank import TuningBank
from tune.trials.tracking import TrialTracker

POLL_SECONDS = 0.5
STOP_SECONDS = 60.0
_VALIDATION = {"validation_map": "map", "validation_rank1": "rank1", "validation_minp": "minp"}


@dataclass(frozen=True)
class FullSettings:
    """What all trials of a `full` sweep share.

    Attributes:
        base: configuration that trials change.
        cluster: how each trial is laid over the cluster.
        storage: folder or URI of the trials' runs, seen by all nodes.
        tracker: experiment tracker of each trial.
        metrics: the objectives; an epoch without one of them is not reported.
        first_epoch: the epoch of the warm start, 0 without one.
    """

    base: Config
    cluster: ClusterConfig
    storage: str
    tracker: str
    metrics: tuple[str, ...]
    first_epoch: int = 0


def features_trial(
    parameters: Mapping[str, Any], *, bank: TuningBank, base: Config, intra: bool, num_threads: int
) -> None:
    """Clusters the shared bank with a trial's values and reports the figures.

    Args:
        parameters: `values`, {configuration path: value}, and `key`.
        bank: read-only memory of the object store.
        base: configuration that the values change.
        intra: whether the sweep searches `clustering.intra`.
        num_threads: threads of this trial.
    """
    from tune.trials.features import score_bank

    config = trial_config(base, parameters["values"])
    ray.tune.report(_report(score_bank(bank, config, intra=intra, num_threads=num_threads), finished=True))


class FullTrial(ray.tune.Trainable):
    """Trains with a trial's values in a Ray Train run; a step is an evaluated epoch.

    A trial of the same key goes on from the run's newest checkpoint and reports the epochs before it again, so that
    the scheduler knows them. The last epoch is reported when the run has ended and freed its workers.
    """

    def setup(self, config: dict[str, Any], settings: FullSettings | None = None) -> None:
        """Begins the training.

        Args:
            config: `values`, {configuration path: value}, and `key`, the run's name.
            settings: what all trials share.
        """
        assert settings is not None
        self._settings = settings
        self._key = config["key"]
        training = trial_config(settings.base, config["values"])
        self._num_epochs = training.num_epochs
        folder = RunFolder(settings.storage, self._key)
        shown = {**config_tree(training), "values": config["values"]}
        self._tracker = TrialTracker(settings.tracker, folder, shown)
        self._work = _start(training, self._key, settings)
        self._records = follow(folder, self._work)

    def step(self) -> dict[str, Any]:
        """Returns the next evaluated epoch's figures.

        Raises:
            EculError: what the training raised, or its last epoch lacks an objective.
        """
        try:
            return self._next()
        except EculError as error:
            self._tracker.close("failed", error=str(error))
            raise

    def cleanup(self) -> None:
        """Ends the training of a trial that was stopped early, and waits until its workers are free."""
        if not ray.wait([self._work], timeout=0)[0]:
            # recursive, it would cancel Train's calls of its workers as well, and Train would start them anew
            ray.cancel(self._work, recursive=False)
            ray.wait([self._work], timeout=STOP_SECONDS)
        self._tracker.close("stopped early")

    def _next(self) -> dict[str, Any]:
        first = self._settings.first_epoch
        for record in self._records:
            epoch = int(record["epoch"])
            figures = full_figures(record)
            self._tracker.epoch(record)
            if epoch > first and all(name in figures for name in self._settings.metrics):
                finished = epoch == self._num_epochs
                if finished:
                    ended(self._work)
                    self._tracker.close("complete")
                trained = {"epoch": epoch, "trained_epochs": epoch - first, "done": finished}
                return _report(figures, finished=finished) | trained
        raise TrainingError(f"run {self._key}: the last epoch has no {' or '.join(self._settings.metrics)}")

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the run has its own checkpoints."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: a trial goes on by its key."""


def full_figures(record: Mapping[str, float]) -> dict[str, float]:
    """Returns the objectives that an epoch's record holds."""
    retrieval = {ours: f"evaluation/{name}" for ours, name in _VALIDATION.items()}
    figures = {ours: record[name] for ours, name in retrieval.items() if name in record}
    united = {name.removeprefix("united/"): value for name, value in record.items() if name.startswith("united/")}
    if "stability" in united:
        figures |= label_free_figures(united)
    if "seconds/cluster" in record:
        figures["clustering_seconds"] = record["seconds/cluster"]
    return figures


def follow(folder: RunFolder, work: Any) -> Iterator[dict[str, float]]:
    """Yields a run's epoch records as they appear, each epoch once and in order, until the work ends.

    Args:
        folder: of the run.
        work: reference to the Ray task that trains.

    Raises:
        EculError: what the work raised.
    """
    last = -1.0
    done = False
    while not done:
        done = bool(ray.wait([work], timeout=POLL_SECONDS)[0])
        for record in epoch_records(folder):
            if record["epoch"] > last:
                last = record["epoch"]
                yield record
    ended(work)


def ended(work: Any) -> None:
    """Waits for a task.

    Raises:
        EculError: what it raised.
    """
    try:
        ray.get(work)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, EculError) else TrainingError(describe(error.cause)) from None


def _start(config: Config, name: str, settings: FullSettings) -> Any:
    """Begins the training in a task of its own and returns its reference.

    Cancelling that task makes Ray Train free the workers, which killing it would not. The address in its environment,
    which Ray Train's own helpers inherit, is the one that they ask; without it they take any cluster of the machine.
    """
    environment = {"env_vars": {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}}
    task = ray.remote(num_cpus=0, max_retries=0, runtime_env=environment)(_train)
    return task.remote(config, name, settings)


def _train(config: Config, name: str, settings: FullSettings) -> None:
    from cluster.trainer import build_trainer, run

    trainer = build_trainer(config, settings.cluster, name=name, storage=settings.storage)
    RunFolder(settings.storage, name).drop_broken_snapshot()
    with contextlib.suppress(SystemExit):  # how Ray Train leaves once a cancelled run has freed its workers
        run(trainer)


def _report(figures: Mapping[str, float], *, finished: bool) -> dict[str, Any]:
    """A Ray Tune result: the objectives under their names, and all figures where `tune.study.search` looks for them."""
    return {**figures, **{f"figures/{name}": value for name, value in figures.items()}, "finished": finished}
