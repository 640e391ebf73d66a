"""How many trials fit at once, and how long a sweep will take."""

import math
from collections.abc import Mapping, Sequence

from cluster.capacity import Demand, demand_of
from cluster.config import ClusterConfig
from ecul.errors import ConfigError

Resources = Mapping[str, float]


def features_concurrency(nodes: Sequence[Resources], *, cpus_per_trial: int, wanted: int | None) -> int:
    """Returns how many clusterings run at once.

    Args:
        nodes: resources of each living node.
        cpus_per_trial: of each clustering.
        wanted: most of them; None for as many as fit.

    Raises:
        ConfigError: not even one fits.
    """
    most = sum(math.floor(node.get("CPU", 0) / cpus_per_trial + 1e-6) for node in nodes)
    if most < 1:
        sizes = ", ".join(f"{node.get('CPU', 0):g}" for node in nodes)
        raise ConfigError(f"features.cpus_per_trial={cpus_per_trial} fits on no node (CPUs: {sizes}); lower it")
    return min(most, wanted or most)


def full_concurrency(nodes: Sequence[Resources], cluster: ClusterConfig, *, wanted: int | None) -> int:
    """Returns how many trainings run at once, each with all its workers and its clustering task.

    That one fits is `cluster.capacity`'s to check; an autoscaling cluster is given `wanted`, or 1.
    """
    if cluster.autoscaling:
        return wanted or 1
    budget = demand_of(cluster, num_workers=cluster.max_workers)
    most = 1
    while _fit(nodes, budget, most + 1) and (wanted is None or most < wanted):
        most += 1
    return most


def _fit(nodes: Sequence[Resources], budget: Demand, trials: int) -> bool:
    """Whether so many trials fit, first fit: tasks and workers of one trial after the other."""
    left = [dict(node) for node in nodes]
    if not any(budget.worker.values()):
        return False
    pieces = ([budget.task] if budget.task else []) + [budget.worker] * budget.num_workers
    return all(_place(left, piece) for _ in range(trials) for piece in pieces)


def _place(left: list[dict[str, float]], piece: Resources) -> bool:
    for node in left:
        if all(node.get(name, 0) + 1e-6 >= amount for name, amount in piece.items()):
            for name, amount in piece.items():
                node[name] = node.get(name, 0) - amount
            return True
    return False


def duration_text(seconds: float) -> str:
    """Returns seconds for people: `40 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
