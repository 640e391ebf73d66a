"""How many trials fit on the cluster at once."""

import math
from collections.abc import Sequence

from cluster.capacity import NODE, Resources, demand_of, fits
from cluster.config import ClusterConfig
from ecul.errors import ConfigError


def borrowing_decided(cluster: ClusterConfig, *, local: bool) -> ClusterConfig:
    """Returns the configuration with `clustering.borrow` set, which by default it is for a Ray started here alone."""
    return cluster if cluster.clustering.borrow is not None else cluster.updated({"clustering.borrow": local})


def features_concurrency(nodes: Sequence[Resources], *, cpus: float, gpus: float = 0, limit: int | None) -> int:
    """Returns how many clusterings run at once.

    Args:
        nodes: resources of each living node.
        cpus: of each clustering.
        gpus: of each clustering.
        limit: most of them; None for as many as fit.

    Raises:
        ConfigError: not even one fits.
    """
    needed = {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount}
    most = sum(min(math.floor(node.get(name, 0) / needed[name] + 1e-6) for name in needed) for node in nodes)
    if most < 1:
        trial = ", ".join(f"features.{name.lower()}s_per_trial={amount:g}" for name, amount in needed.items())
        sizes = "; ".join(", ".join(f"{node.get(name, 0):g} {name}" for name in needed) for node in nodes)
        raise ConfigError(f"{trial} fits on no node (there: {sizes}); lower it")
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

    def fit_at_once(count: int) -> bool:
        # the workers of one training may have to be on different nodes, but not those of two
        return fits([{**node, NODE: count} for node in nodes], pieces * count)

    count = 1
    while fit_at_once(count + 1) and (limit is None or count < limit):
        count += 1
    return count
