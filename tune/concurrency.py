"""How many trials fit on the cluster at once."""

import math
from collections.abc import Sequence

from cluster.capacity import Resources, demand_of, fits
from cluster.config import ClusterConfig
from ecul.errors import ConfigError


def features_concurrency(nodes: Sequence[Resources], *, cpus_per_trial: int, limit: int | None) -> int:
    """Returns how many clusterings run at once.

    Args:
        nodes: resources of each living node.
        cpus_per_trial: of each clustering.
        limit: most of them; None for as many as fit.

    Raises:
        ConfigError: not even one fits.
    """
    most = sum(math.floor(node.get("CPU", 0) / cpus_per_trial + 1e-6) for node in nodes)
    if most < 1:
        sizes = ", ".join(f"{node.get('CPU', 0):g}" for node in nodes)
        raise ConfigError(f"features.cpus_per_trial={cpus_per_trial} fits on no node (CPUs: {sizes}); lower it")
    return min(most, limit or most)


def full_concurrency(nodes: Sequence[Resources], cluster: ClusterConfig, *, limit: int | None) -> int:
    """Returns how many trainings run at once, each with all its workers and its clustering task.

    `cluster.capacity` checks that one fits.

    Args:
        nodes: resources of each living node.
        cluster: how each training is laid over the cluster. One that autoscales gets `limit`, or 1.
        limit: most of them; None for as many as fit.
    """
    if cluster.autoscaling:
        return limit or 1
    pieces = demand_of(cluster, num_workers=cluster.max_workers).pieces()
    count = 1
    while fits(nodes, pieces * (count + 1)) and (limit is None or count < limit):
        count += 1
    return count
