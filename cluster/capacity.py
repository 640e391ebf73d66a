"""Checks that the cluster is large enough before anything starts, and says by how much it is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.config import ClusterConfig
from ecul.errors import ConfigError

Resources = Mapping[str, float]
NODE = "node"
"""A resource of which each node has one, besides those of Ray: for workers that must be on different nodes."""
STRICT_PACK = "STRICT_PACK"
_ROUNDING = 1e-6  # fractions of a CPU or GPU are added up as floats


@dataclass(frozen=True)
class Demand:
    """The logical resources that a run needs at the same time.

    Attributes:
        worker: of one training worker.
        num_workers: number of workers.
        task: of one clustering task; empty when it borrows the workers' resources.
        together: whether all workers must be on one node.
    """

    worker: Resources
    num_workers: int
    task: Resources
    together: bool = False

    def total(self) -> dict[str, float]:
        """Returns the sum over all workers and the task."""
        names = sorted({*self.worker, *self.task})
        return {name: self.num_workers * self.worker.get(name, 0) + self.task.get(name, 0) for name in names}

    def pieces(self) -> list[Resources]:
        """Returns what must each fit on one node: the task first, then every worker."""
        workers: list[Resources] = [self.worker] * self.num_workers
        if self.together:
            workers = [{name: self.num_workers * amount for name, amount in self.worker.items()}]
        return ([self.task] if self.task else []) + workers


def demand_of(config: ClusterConfig, *, num_workers: int | None = None) -> Demand:
    """Returns what a run of this configuration needs.

    Args:
        config: with `clustering.borrow` decided.
        num_workers: default: the fewest workers that the run may have.
    """
    task: dict[str, float] = {}
    if not config.clustering.borrow:
        task = {"CPU": config.clustering.num_cpus, "GPU": config.clustering.num_gpus}
    task |= config.clustering.resources
    apart = {NODE: 1} if config.placement_strategy == "STRICT_SPREAD" else {}
    return Demand(
        worker={**config.resources_per_worker, **apart},
        num_workers=num_workers or config.min_workers,
        task={name: amount for name, amount in task.items() if amount},
        together=config.placement_strategy == STRICT_PACK,
    )


def check_capacity(config: ClusterConfig, nodes: Sequence[Resources]) -> None:
    """Checks that workers and clustering fit on the nodes at the same time.

    Args:
        config: with `clustering.borrow` decided.
        nodes: resources of each living node.

    Raises:
        ConfigError: they do not fit; the text has the numbers and says what can be changed.
    """
    demand = demand_of(config)
    nodes = [{NODE: 1, **node} for node in nodes]
    available = _sum(nodes)
    short = [name for name, amount in demand.total().items() if amount > available.get(name, 0) + _ROUNDING]
    if short:
        raise ConfigError(_message(config, demand, available, short))
    if not fits(nodes, demand.pieces()):
        sizes = "; ".join(_text(node) for node in nodes)
        raise ConfigError(
            f"{demand.num_workers} workers of {_text(demand.worker)} and the clustering of {_text(demand.task)} fit in "
            f"sum but not into the nodes ({sizes}); lower cpus_per_worker or clustering.num_cpus"
            + (f", or take another placement_strategy than {STRICT_PACK}" if demand.together else "")
        )


def capped_workers(config: ClusterConfig, nodes: Sequence[Resources]) -> int:
    """Returns the most workers of an elastic run that leave room for the clustering task."""
    sizes = range(config.max_workers, config.min_workers, -1)
    fitting = (size for size in sizes if fits(nodes, demand_of(config, num_workers=size).pieces()))
    return next(fitting, config.min_workers)


def check_batch(config: ClusterConfig, batch_size: int) -> None:
    """Checks that the global batch divides by every number of workers that the run may have.

    Raises:
        ConfigError: it does not.
    """
    sizes = range(config.min_workers, config.max_workers + 1)
    bad = [size for size in sizes if batch_size % size]
    if bad:
        raise ConfigError(
            f"batch.batch_size={batch_size} does not divide by {', '.join(map(str, bad))} workers; "
            "change batch.batch_size or num_workers (an elastic run may have each number between its two)"
        )


def fits(nodes: Sequence[Resources], pieces: Sequence[Resources]) -> bool:
    """Returns whether all pieces fit on the nodes at once, by first fit in the order of the pieces.

    A piece goes to the node with the most free CPUs. A piece that needs no GPU goes to a node without GPUs if it can,
    so that it does not take the CPUs of the workers that need one.

    Args:
        nodes: resources of each node; one `NODE` where none is given.
        pieces: resources that must be found on one node, such as those of one worker.
    """
    free = [{NODE: 1, **node} for node in nodes]
    for piece in pieces:
        free.sort(key=lambda node: (0 if piece.get("GPU") else node.get("GPU", 0), -node.get("CPU", 0)))
        for node in free:
            if all(node.get(name, 0) + _ROUNDING >= amount for name, amount in piece.items()):
                for name, amount in piece.items():
                    node[name] = node.get(name, 0) - amount
                break
        else:
            return False
    return True


def _sum(nodes: Sequence[Resources]) -> dict[str, float]:
    names = {name for node in nodes for name in node}
    return {name: sum(node.get(name, 0) for node in nodes) for name in names}


def _message(config: ClusterConfig, demand: Demand, available: Resources, short: Sequence[str]) -> str:
    need = demand.total()
    parts = ", ".join(f"{name} {need[name]:g} (available: {available.get(name, 0):g})" for name in short)
    text = (
        f"the cluster is too small: {demand.num_workers} workers of {_text(demand.worker)} and the clustering of "
        f"{_text(demand.task)} need {parts}"
    )
    ways = ["fewer --workers"]
    if "CPU" in short and demand.task.get("CPU"):
        ways.append("--cluster-set clustering.borrow=true to cluster on the CPUs of the waiting workers")
    if "GPU" in short:
        ways.append("--cpu")
    return f"{text}; use {', or '.join(ways)}" + ("" if config.autoscaling else ", or autoscaling: true")


def _text(resources: Resources) -> str:
    shown = {name: amount for name, amount in resources.items() if name in ("CPU", "GPU") and amount}
    return " + ".join(f"{amount:g} {name}" for name, amount in shown.items()) or "nothing of its own"
