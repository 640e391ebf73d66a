"""A training in a Ray task of its own, and what all trainings of a sweep or of a repetition share."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.config import ClusterConfig, local_defaults
from cluster.environment import train_variables
from cluster.room import fitted, living_nodes
from cluster.storage import RunFolder
from cluster.tracking.interface import TrackerSettings
from cluster.tracking.registry import tracker_settings
from ecul.config import Config
from tune.concurrency import full_concurrency

STOP_SECONDS = 60.0
"""How long a cancelled training has to free its workers."""
MOST_LOSSES = 2
"""How often a trial or a run is begun again by itself after its process or node was lost, perhaps because it needs more
memory than there is; one that is lost once more has failed."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What all trainings of a sweep, or of a repetition, share.

    Attributes:
        cluster: how each of them is laid over the cluster.
        storage: folder of the runs, seen by all nodes; the one above it is the sweep's, or the repetition's.
        tracker: experiment tracker of each run, with the settings of the command.
    """

    cluster: ClusterConfig
    storage: str
    tracker: TrackerSettings


def trainings_at_once(cluster: ClusterConfig, *, limit: int | None) -> int:
    """Returns how many trainings run at once on the joined cluster.

    Args:
        cluster: how each of them is laid over the cluster.
        limit: most of them; None for as many as fit.
    """
    nodes = living_nodes()
    return full_concurrency(nodes, fitted(cluster, nodes), limit=limit)


def training_settings(
    cluster: ClusterConfig, *, storage: Path, tracker: str, local: bool, at_once: int
) -> TrainingSettings:
    """Returns the settings of trainings that this process starts.

    Args:
        cluster: how each of them is laid over the cluster.
        storage: folder of the runs.
        tracker: kind of their experiment tracker.
        local: whether Ray was started by this command, so that the trainings share the machine's cores.
        at_once: trainings side by side.
    """
    return TrainingSettings(
        cluster=local_defaults(cluster, at_once=at_once) if local else cluster,
        storage=str(storage.absolute()),
        tracker=tracker_settings(tracker),
    )


def start_training(config: Config, name: str, settings: TrainingSettings) -> ray.ObjectRef:
    """Starts the training in a task of its own and returns its reference.

    Cancelling that task makes Ray Train free the workers, which killing it would not. RAY_ADDRESS makes the helper
    processes of Ray Train join this cluster; without it they join any cluster of the machine. The task runs on the
    node of the calling process, so that no other node can end the training but those of its workers.

    Args:
        config: of the training.
        name: of its run.
        settings: what all trainings share.
    """
    here = ray.get_runtime_context()
    variables = train_variables(settings.cluster)
    task = ray.remote(_train).options(
        num_cpus=0,
        max_retries=0,
        runtime_env={"env_vars": {**variables, "RAY_ADDRESS": here.gcs_address}},
        scheduling_strategy=NodeAffinitySchedulingStrategy(here.get_node_id(), soft=True),
    )
    return task.remote(config, name, settings)


def _train(config: Config, name: str, settings: TrainingSettings) -> None:
    from cluster.trainer import build_trainer, run  # in the task alone: the calling process does not train

    trainer = build_trainer(config, settings.cluster, name=name, storage=settings.storage)
    RunFolder(settings.storage, name).drop_broken_snapshot()
    with contextlib.suppress(KeyboardInterrupt):  # a cancelled run, whose workers are free now
        run(trainer)
