"""Whether the cluster is large enough, said before anything starts and with the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.config import ClusterConfig
from ecul.errors import ConfigError

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Budget:
    """What a run needs at once.

    Attributes:
        worker: of one training worker.
        num_workers: the fewest workers that the run starts with.
        task: of one clustering task; empty when it borrows the workers'.
    """

    worker: Resources
    num_workers: int
    task: Resources

    def total(self) -> dict[str, float]:
        """Sum over workers and task."""
        names = sorted({*self.worker, *self.task})
        return {name: self.num_workers * self.worker.get(name, 0) + self.task.get(name, 0) for name in names}


def budget_of(config: ClusterConfig, *, num_workers: int | None = None) -> Budget:
    """Returns what a run of this configuration needs, by default with its fewest workers."""
    task: dict[str, float] = {}
    if not config.clustering.borrow:
        task = {"CPU": config.clustering.num_cpus, "GPU": config.clustering.num_gpus}
    task |= config.clustering.resources
    wanted = {name: amount for name, amount in task.items() if amount}
    return Budget(config.resources_per_worker, num_workers or config.min_workers, wanted)


def check_budget(config: ClusterConfig, nodes: Sequence[Resources]) -> None:
    """Makes sure that workers and clustering fit into the nodes at the same time.

    Args:
        config: with `clustering.borrow` decided.
        nodes: resources of each living node.

    Raises:
        ConfigError: they do not; the text has the numbers and the ways out.
    """
    budget = budget_of(config)
    there = _sum(nodes)
    short = [name for name, amount in budget.total().items() if amount > there.get(name, 0) + 1e-6]
    if short:
        raise ConfigError(_message(config, budget, there, short))
    if not _fits(nodes, budget):
        sizes = "; ".join(_text(node) for node in nodes)
        raise ConfigError(
            f"{budget.num_workers} workers of {_text(budget.worker)} and the clustering of {_text(budget.task)} fit in "
            f"sum but not into the nodes ({sizes}); lower cpus_per_worker or clustering.num_cpus"
        )


def capped_workers(config: ClusterConfig, nodes: Sequence[Resources]) -> int:
    """Returns the most workers of an elastic run that leave room for the clustering task."""
    sizes = range(config.max_workers, config.min_workers, -1)
    fitting = (size for size in sizes if _fits(nodes, budget_of(config, num_workers=size)))
    return next(fitting, config.min_workers)


def check_batch(config: ClusterConfig, batch_size: int) -> None:
    """Makes sure that the global batch divides by each number of workers that the run may have.

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


def _sum(nodes: Sequence[Resources]) -> dict[str, float]:
    names = {name for node in nodes for name in node}
    return {name: sum(node.get(name, 0) for node in nodes) for name in names}


def _fits(nodes: Sequence[Resources], budget: Budget) -> bool:
    """First fit: the task, then the workers one by one, where most CPUs are; without need of a GPU, away from them."""
    left = [dict(node) for node in nodes]
    pieces = ([budget.task] if budget.task else []) + [budget.worker] * budget.num_workers
    for piece in pieces:
        left.sort(key=lambda node: (0 if piece.get("GPU") else node.get("GPU", 0), -node.get("CPU", 0)))
        for node in left:
            if all(node.get(name, 0) + 1e-6 >= amount for name, amount in piece.items()):
                for name, amount in piece.items():
                    node[name] = node.get(name, 0) - amount
                break
        else:
            return False
    return True


def _message(config: ClusterConfig, budget: Budget, there: Resources, short: Sequence[str]) -> str:
    need = budget.total()
    parts = ", ".join(f"{name} {need[name]:g} (there: {there.get(name, 0):g})" for name in short)
    text = (
        f"the cluster is too small: {budget.num_workers} workers of {_text(budget.worker)} and the clustering of "
        f"{_text(budget.task)} need {parts}"
    )
    ways = ["fewer --workers"]
    if "CPU" in short and budget.task.get("CPU"):
        ways.append("--cluster-set clustering.borrow=true to cluster on the CPUs of the waiting workers")
    if "GPU" in short:
        ways.append("--cpu")
    return f"{text}; use {', or '.join(ways)}" + ("" if config.autoscaling else ", or autoscaling: true")


def _text(resources: Resources) -> str:
    shown = {name: amount for name, amount in resources.items() if name in ("CPU", "GPU") and amount}
    return " + ".join(f"{amount:g} {name}" for name, amount in shown.items()) or "nothing of its own"
