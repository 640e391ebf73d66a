"""Errors as one line of text, and which of them mean that a process was lost."""

import ray.exceptions

LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.LocalRayletDiedError,
)
"""What Ray raises where a task's process or node was lost."""


def describe(error: BaseException) -> str:
    """Returns an error's type and the first line of its text, at most 200 characters of it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def is_lost(error: BaseException) -> bool:
    """Returns whether an error of Ray says that a process or a node was lost, and not that the work itself failed."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return isinstance(error.cause, Exception) and is_lost(error.cause)
    if isinstance(error, ray.exceptions.RayActorError):
        return not error.actor_init_failed
    return isinstance(error, LOST)
