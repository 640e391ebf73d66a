"""Faults for real: processes that end themselves at a chosen place, once. The product has no hooks for this.

The functions run in Ray's processes; they patch the training of that process alone, before it starts.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle


def once(marker: Path) -> bool:
    """Whether this is the first call for the marker, over all processes; leaves the time in it."""
    try:
        with marker.open("x") as file:
            file.write(f"{time.time()}")
    except FileExistsError:
        return False
    return True


def with_faults(*faults: Callable[[], None]) -> Callable[[dict[str, Any]], Any]:
    """Returns the product's training function with faults laid before it."""

    def loop(settings: dict[str, Any]) -> Any:
        from cluster.worker import train_worker

        for lay in faults:
            lay()
        return train_worker(settings)

    return loop


def die_in_step(marker: Path, *, rank: int, epoch: int, step: int) -> Callable[[], None]:
    """The worker of a rank ends without a word before a step."""

    def lay() -> None:
        from ecul import runtime
        from ecul.engine import loop

        original = loop.take_step

        def step_or_death(session: Any, optimizer: Any, batch: Any, memories: Any, key: Any, *rest: Any) -> Any:
            if key[1:] == (epoch, step) and runtime.rank() == rank and once(marker):
                os._exit(1)
            return original(session, optimizer, batch, memories, key, *rest)

        loop.take_step = step_or_death

    return lay


def fail(marker: Path, error: Exception) -> Callable[[], None]:
    """Each worker raises, each time."""

    def lay() -> None:
        with marker.open("a") as file:
            file.write("x")
        raise error

    return lay


def wait_in_step(marker: Path, *, rank: int, epoch: int, seconds: float) -> Callable[[], None]:
    """The worker of a rank says where it is and waits, once, so that its node can be killed."""

    def lay() -> None:
        import ray

        from ecul import runtime
        from ecul.engine import loop

        original = loop.take_step

        def step_or_wait(session: Any, optimizer: Any, batch: Any, memories: Any, key: Any, *rest: Any) -> Any:
            here = marker.with_suffix(f".{ray.get_runtime_context().get_node_id()}")
            if key[1:] == (epoch, 2) and runtime.rank() == rank and once(marker):
                here.touch()
                time.sleep(seconds)
            return original(session, optimizer, batch, memories, key, *rest)

        loop.take_step = step_or_wait

    return lay


def in_clustering(marker: Path, action: Callable[[Path], None]) -> Callable[[], None]:
    """The task of an epoch's clustering first does something, once."""

    def lay() -> None:
        from cluster import remote_clustering

        original = remote_clustering.cluster_bank

        def cluster_bank(bank: Any, request: Any, config: Any) -> Any:
            if once(marker):
                action(marker)
            return original(bank, request, config)

        remote_clustering.cluster_bank = cluster_bank

    return lay


def die(marker: Path) -> None:
    """Ends the process without a word."""
    os._exit(1)


def wait_to_be_killed(marker: Path) -> None:
    """Says on which node this is, and waits."""
    import ray

    marker.with_suffix(f".{ray.get_runtime_context().get_node_id()}").touch()
    time.sleep(60)


def by_value() -> None:
    """Makes Ray carry these functions to its processes, which cannot import the tests."""
    import sys

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
