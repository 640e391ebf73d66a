"""What the joined cluster has room for. Without torch, which a driver that trains nothing itself does not need."""

import logging
from collections.abc import Mapping, Sequence

import ray

from cluster.capacity import capped_workers, check_capacity
from cluster.config import ClusterConfig

log = logging.getLogger(__name__)


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
