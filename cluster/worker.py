"""The training function of a Ray worker: `ecul.engine.fit` with Ray's clustering, reports and checkpoints."""

import logging
from typing import Any

import ray
import ray.train
import torch

from cluster.checkpoints import RayStore
from cluster.config import ClusterConfig, parse_cluster_config
from cluster.remote_clustering import RemoteClustering
from cluster.reporting import add_remote_report, open_reporter
from cluster.scratch import remove_abandoned_folders
from cluster.storage import RunFolder
from cluster.tracking.interface import TrackerSettings
from ecul import runtime
from ecul.engine.fit import fit
from ecul.engine.interfaces import FitResult
from ecul.errors import ConfigError
from ecul.settings import parse_config

STORAGE_MARKER = ".validate_storage_marker"


def train_worker(settings: dict[str, Any]) -> FitResult | None:
    """Trains; returns the result on rank 0 and None on the other ranks.

    Args:
        settings: plain data, see `cluster.trainer.worker_settings`.

    Raises:
        EculError: bad data or settings, or a training that cannot continue; the run ends without a new attempt.
    """
    quieten()
    cluster = parse_cluster_config(settings["cluster"])
    config = parse_config(settings["config"])
    torch.set_num_threads(worker_threads(cluster))
    folder = RunFolder(settings["storage"], settings["name"])
    if not folder.exists(STORAGE_MARKER):
        node = ray.util.get_node_ip_address()
        raise ConfigError(f"node {node} does not see {folder.uri}; give a storage that all nodes share (--storage)")
    remove_abandoned_folders()
    store = RayStore(folder, asynchronous=cluster.async_checkpoints, keep_every=config.runtime.keep_every)
    tracker = TrackerSettings.model_validate(settings["tracker"])
    with open_reporter(folder, tracker=tracker, profile=config.runtime.profile) as reporter:
        clustering = RemoteClustering(cluster.clustering, reporter.warn)
        if runtime.is_main():
            clustering.warm_up()
        result = fit(config, clustering_fn=clustering, reporter=reporter, store=store)
        if runtime.is_main() and config.runtime.report:
            add_remote_report(folder, reporter)
    return result if runtime.is_main() else None


def worker_threads(cluster: ClusterConfig) -> int:
    """Returns the torch threads of a worker; Ray itself sets one."""
    return cluster.threads_per_worker or max(1, int(cluster.cpus_per_worker))


def quieten() -> None:
    """Logs our own messages and everyone's warnings, and nothing else."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    for name in ("ecul", "cluster"):
        logging.getLogger(name).setLevel(logging.INFO)
