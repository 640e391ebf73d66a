"""From a configuration to a Ray `TorchTrainer`, and from its outcome to a `FitResult` or one of our errors."""

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.exceptions
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from cluster.capacity import check_batch
from cluster.config import ClusterConfig, with_clustering_threads
from cluster.failures import FailureBudget, cause_of, describe, is_lost, is_mistake
from cluster.groups import remove_groups
from cluster.guard import RunGuard
from cluster.paths import with_absolute_paths
from cluster.room import fitted, living_nodes
from cluster.storage import RunFolder, record_event, resolve_storage
from cluster.tracking.interface import TrackerSettings
from ecul.config import Config
from ecul.engine.interfaces import FitResult
from ecul.errors import EculError, TrainingError
from ecul.settings import config_tree, updated

log = logging.getLogger(__name__)


def build_trainer(
    config: Config,
    cluster: ClusterConfig,
    *,
    name: str,
    storage: str,
    callbacks: Sequence[ray.train.UserCallback] = (),
    tracker: TrackerSettings | None = None,
) -> TorchTrainer:
    """Returns a trainer that trains on the cluster that this process has joined; `run` runs it.

    If the name and storage are those of an earlier run, training continues from its newest checkpoint.

    Args:
        config: all settings of the training.
        cluster: workers and their resources.
        name: of the run; its folder is `storage`/`name`.
        storage: path or URI that all nodes share.
        callbacks: run in Train's controller, besides ours.
        tracker: experiment tracker and its settings; None for none.

    Raises:
        ConfigError: the cluster is too small, the batch cannot be divided, or two settings contradict each other.
    """
    check_batch(cluster, config.batch.batch_size)
    cluster = with_clustering_threads(fitted(cluster, living_nodes()), config.clustering.num_threads)
    folder = RunFolder(storage, name)
    return TorchTrainer(
        _train_worker,
        train_loop_config=worker_settings(config, cluster, name=name, storage=storage, tracker=tracker),
        scaling_config=ray.train.ScalingConfig(
            num_workers=cluster.num_workers,
            placement_strategy=cluster.placement_strategy,
            use_gpu=not cluster.cpu,
            resources_per_worker=cluster.resources_per_worker,
            elastic_resize_monitor_interval_s=cluster.resize_interval_s,
        ),
        torch_config=TorchConfig(backend=backend_of(cluster), timeout_s=cluster.process_group_timeout_s),
        run_config=_run_config(cluster, folder, keep=config.runtime.keep_checkpoints, callbacks=callbacks),
    )


def backend_of(cluster: ClusterConfig) -> str:
    """Returns the backends of the process group by device.

    Tensors on GPUs go over NCCL; labels, errors and objects over gloo, since a GPU that waits in NCCL for rank 0's
    clustering spins at full power.
    """
    return "gloo" if cluster.cpu else "cpu:gloo,cuda:nccl"


def _train_worker(settings: dict[str, Any]) -> FitResult | None:
    """Trains in a worker. The import is here so that the driver and Train's controller do not wait for it."""
    from cluster.worker import train_worker

    return train_worker(settings)


def _run_config(
    cluster: ClusterConfig, folder: RunFolder, *, keep: int, callbacks: Sequence[ray.train.UserCallback]
) -> ray.train.RunConfig:
    return ray.train.RunConfig(
        name=folder.name,
        storage_path=folder.root,
        storage_filesystem=folder.filesystem,
        # RunGuard keeps the budget
        failure_config=ray.train.FailureConfig(max_failures=-1),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=cluster.num_to_keep or keep),
        # Train takes all its callbacks here, though only the public ones are declared
        callbacks=[RunGuard(folder, cluster), *callbacks],  # pyright: ignore[reportArgumentType]
        worker_runtime_env={"env_vars": dict(cluster.spawn_env)} if cluster.spawn_env else None,
        logging_config=ray.train.LoggingConfig(log_level="CRITICAL"),
    )


def worker_settings(
    config: Config, cluster: ClusterConfig, *, name: str, storage: str, tracker: TrackerSettings | None
) -> dict[str, Any]:
    """Returns what a worker needs as plain data: absolute paths, since its working directory is another."""
    device = {"runtime.device": "cpu"} if cluster.cpu else {}
    return {
        "config": config_tree(updated(with_absolute_paths(config), device)),
        "cluster": cluster.model_dump(mode="json"),
        "name": name,
        "storage": resolve_storage(storage),
        "tracker": (tracker or TrackerSettings()).model_dump(),
    }


def run(trainer: TorchTrainer) -> FitResult:
    """Trains to the end and returns rank 0's result.

    A controller of Train that is lost, perhaps to the memory killer, or that fails without a mistake, as where another
    process takes the port it has just found free, is one of `max_failures`: another one goes on from the newest
    checkpoint.

    Raises:
        EculError: what the training itself raised, or processes that were lost too often.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the workers are free.
    """
    losses = _ControllerFailures(trainer.train_loop_config or {})
    while True:
        try:
            remove_groups(losses.folder)
            return _fit(trainer)
        except (ray.exceptions.RayError, ray.train.ControllerError) as error:
            if isinstance(error, ray.exceptions.TaskCancelledError):
                raise
            losses.count(error)


def _fit(trainer: TorchTrainer) -> FitResult:
    """Trains under one controller.

    Raises:
        EculError: as `run`.
        RayError: the controller itself was lost.
        ControllerError: it failed, and another one may not.
    """
    try:
        with _interruptible():
            result = trainer.fit().return_value
    except ray.train.ControllerError as error:
        cause = cause_of(error)
        if isinstance(cause, EculError):
            raise cause from None
        if is_mistake(cause):
            raise TrainingError(f"Ray Train gave up: {describe(cause)}") from error
        raise
    except ray.train.TrainingFailedError as error:
        failures = error.worker_failures if isinstance(error, ray.train.WorkerGroupError) else {}
        text = "; ".join(f"rank {rank}: {describe(cause)}" for rank, cause in failures.items())
        raise TrainingError(f"the workers failed: {text or describe(error)}") from error
    if not isinstance(result, FitResult):
        raise TrainingError("training ended without a result of rank 0")
    return result


class _ControllerFailures:
    """How often the controller of a run was lost or failed since the newest checkpoint came.

    Attributes:
        folder: of the run.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.folder = RunFolder(settings["storage"], settings["name"])
        self._most = settings["cluster"]["max_failures"]
        self._budget = FailureBudget(self._most)
        self._budget.progress(self.folder.newest_epoch)

    def count(self, error: Exception) -> None:
        """Prepares the next controller.

        Raises:
            TrainingError: there were too many, or the error is another one.
        """
        if isinstance(error, ray.train.ControllerError):
            event, said = "controller_failed", f"Train's controller failed ({describe(error)})"
        elif is_lost(error):
            event, said = "controller_lost", f"the process of Train's controller was lost ({describe(error)})"
        else:
            raise TrainingError(f"Ray Train gave up: {describe(error)}") from error
        record_event(self.folder, event, error=describe(error))
        self._budget.progress(self.folder.newest_epoch)
        if not self._budget.spend():
            remove_groups(self.folder)
            raise TrainingError(f"{self._budget} (max_failures={self._most}); the last: {said}") from error
        log.warning("%s; the training goes on from the newest checkpoint", said)
        self.folder.drop_broken_snapshot()  # it may have been about to write it


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt where Train's handler of Ctrl-C frees the workers and ends the process with code 0.

    Train leaves its handler in place; here the one of before comes back.
    """
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if main and before is not None:  # None: not from Python
            signal.signal(signal.SIGINT, before)
