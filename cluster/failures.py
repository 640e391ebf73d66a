"""Errors as one line of text; which of them mean that a process was lost, and which would come again at once."""

import ray.exceptions

LOST = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.LocalRayletDiedError,
)
"""What Ray raises where a task's process or node was lost."""

_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a mistake in code, data or installation raises. A broken connection or full memory raises something else."""
_INNER = ("_base_exc", "health_check_failure", "controller_failure")
"""Where Train's UserExceptionWithTraceback, WorkerHealthCheckFailedError and ControllerError keep what they wrap."""
_MOST_STUCK = 10


def cause_of(error: BaseException) -> BaseException:
    """Returns the error that a process raised, without what Ray wrapped around it on its way here."""
    while True:
        if isinstance(error, ray.exceptions.RayTaskError):
            inner = error.cause
        else:
            inner = next((found for name in _INNER if (found := getattr(error, name, None)) is not None), None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def describe(error: BaseException) -> str:
    """Returns the cause of an error in one line: its type and the first line of its text, at most 200 characters."""
    cause = cause_of(error)
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if isinstance(cause, ray.exceptions.RayTaskError):  # only a traceback came, whose last line is the error
        return lines[-1][:200]
    return f"{type(cause).__name__}: {lines[0][:200]}" if lines else type(cause).__name__


def is_lost(error: BaseException) -> bool:
    """Returns whether an error of Ray says that a process or a node was lost, and not that the work itself failed."""
    cause = cause_of(error)
    if isinstance(cause, ray.exceptions.RayActorError):
        return not cause.actor_init_failed
    return isinstance(cause, LOST)


def is_preempted(error: BaseException) -> bool:
    """Returns whether a worker ended because its node was taken away, as cloud providers do with spot nodes."""
    cause = cause_of(error)
    return isinstance(cause, ray.exceptions.RayActorError) and cause.preempted


def is_mistake(error: BaseException) -> bool:
    """Returns whether a new attempt would raise the same error: a mistake, and nothing that comes and goes."""
    return isinstance(cause_of(error), _MISTAKES)


class FailureBudget:
    """Counts failed attempts since the last finished epoch, which gives the whole budget back."""

    def __init__(self, max_failures: int) -> None:
        """Takes the setting `max_failures`; with -1, ten attempts in a row may fail without a finished epoch."""
        self._most = max_failures if max_failures >= 0 else _MOST_STUCK
        self._epoch = 0
        self._failures = 0

    def progress(self, epoch: int) -> None:
        """An epoch's checkpoint is kept. One that was reached before gives nothing back."""
        if epoch > self._epoch:
            self._epoch, self._failures = epoch, 0

    def spend(self) -> bool:
        """An attempt failed; returns whether there may be another one."""
        self._failures += 1
        return self._failures <= self._most

    def __str__(self) -> str:
        return f"{self._failures} attempts in a row failed without finishing an epoch"
