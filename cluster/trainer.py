"""From a configuration to a Ray `TorchTrainer`, and from its outcome to a `FitResult` or one of our errors."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from cluster.capacity import capped_workers, check_batch, check_capacity
from cluster.config import ClusterConfig, with_clustering_threads
from cluster.failures import describe
from cluster.paths import with_absolute_paths
from cluster.storage import RunFolder, record_event, resolve_storage
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
    tracker: str = "none",
) -> TorchTrainer:
    """Returns a trainer that trains on the cluster that this process has joined; `run` runs it.

    If the name and storage are those of an earlier run, training continues from its newest checkpoint.

    Args:
        config: all settings of the training.
        cluster: workers and their resources.
        name: of the run; its folder is `storage`/`name`.
        storage: path or URI that all nodes share.
        callbacks: run in Train's controller, besides ours.
        tracker: one of `cluster.tracking.interface.TRACKERS`.

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
        failure_config=ray.train.FailureConfig(max_failures=cluster.max_failures),
        checkpoint_config=ray.train.CheckpointConfig(num_to_keep=cluster.num_to_keep or keep),
        callbacks=[FailureEvents(folder), *callbacks],
        worker_runtime_env={"env_vars": dict(cluster.spawn_env)} if cluster.spawn_env else None,
        logging_config=ray.train.LoggingConfig(log_level="CRITICAL"),
    )


def worker_settings(config: Config, cluster: ClusterConfig, *, name: str, storage: str, tracker: str) -> dict[str, Any]:
    """Returns what a worker needs as plain data: absolute paths, since its working directory is another."""
    device = {"runtime.device": "cpu"} if cluster.cpu else {}
    return {
        "config": config_tree(updated(with_absolute_paths(config), device)),
        "cluster": cluster.model_dump(mode="json"),
        "name": name,
        "storage": resolve_storage(storage),
        "tracker": tracker,
    }


def living_nodes() -> list[Mapping[str, float]]:
    """Returns the resources of each living node of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def fitted(cluster: ClusterConfig, nodes: Sequence[Mapping[str, float]]) -> ClusterConfig:
    """Returns the configuration; an elastic run has its most workers lowered so that the clustering has room.

    Raises:
        ConfigError: even the fewest workers do not fit.
    """
    if cluster.autoscaling:
        return cluster
    check_capacity(cluster, nodes)
    if cluster.min_workers == cluster.max_workers:
        return cluster
    most = capped_workers(cluster, nodes)
    if most < cluster.max_workers:
        log.warning("at most %d of %d workers leave room for the clustering task", most, cluster.max_workers)
    return cluster.updated({"num_workers": [cluster.min_workers, most]})


def run(trainer: TorchTrainer) -> FitResult:
    """Trains to the end and returns rank 0's result.

    Raises:
        EculError: what the training itself raised, or workers that were lost too often.
    """
    try:
        result = trainer.fit().return_value
    except ray.train.ControllerError as error:
        if isinstance(error.controller_failure, EculError):
            raise error.controller_failure from None
        raise TrainingError(f"Ray Train gave up: {describe(error.controller_failure)}") from error
    except ray.train.WorkerGroupError as error:
        failures = "; ".join(f"rank {rank}: {describe(cause)}" for rank, cause in error.worker_failures.items())
        raise TrainingError(f"workers failed more than max_failures times; the last: {failures}") from error
    if not isinstance(result, FitResult):
        raise TrainingError("training ended without a result of rank 0")
    return result


class FailureEvents(ray.train.UserCallback):
    """Records lost workers in the run's events; ends the run at once if a new attempt would fail in the same way."""

    def __init__(self, folder: RunFolder) -> None:
        """`folder` is the run's."""
        self._folder = folder

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Is called in the controller after workers died or raised.

        Raises:
            EculError: one that a worker raised; Train does not retry after an error of a callback.
        """
        causes = {rank: getattr(error, "_base_exc", error) for rank, error in worker_exceptions.items()}
        for rank, cause in sorted(causes.items()):
            record_event(self._folder, "worker_failed", rank=rank, error=describe(cause))
            if not isinstance(cause, EculError):
                log.warning("rank %d failed (%s)", rank, describe(cause))
        for cause in causes.values():
            if isinstance(cause, EculError):
                raise cause
