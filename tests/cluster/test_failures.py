import traceback

import pytest
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from cluster.failures import FailureBudget, describe, is_lost, is_mistake, is_preempted
from ecul.errors import TrainingError


def in_a_task(cause: Exception) -> RayTaskError:
    return RayTaskError("step", "a traceback", cause)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (WorkerCrashedError(), True),
        (NodeDiedError("a node"), True),
        (ActorDiedError(), True),
        (in_a_task(WorkerCrashedError()), True),
        (in_a_task(in_a_task(ActorDiedError())), True),
        # the actor's own constructor raised: it would do so again
        (RayActorError(actor_init_failed=True), False),
        (in_a_task(TrainingError("the loss is nan")), False),
        (in_a_task(KeyError("k")), False),
        (TaskCancelledError(), False),
        (TrainingError("the loss is nan"), False),
    ],
)
def test_lost_processes_are_told_from_work_that_failed(error: Exception, lost: bool):
    assert is_lost(error) == lost


def in_a_task_of(cause: Exception) -> RayTaskError:
    """As it comes back from a task: an error of the cause's class too, whose text is a traceback with colours."""
    try:
        raise cause
    except Exception:
        text = traceback.format_exc()
    error = RayTaskError("clustering", text, cause, proctitle="ray::clustering", pid=4711, ip="10.0.0.3")
    return error.as_instanceof_cause()


OUT_OF_MEMORY = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 23 GiB")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("\n  one\ntwo"), "ValueError: one"),
        (ValueError(), "ValueError"),
        (in_a_task_of(ValueError("row 7 has norm 0")), "ValueError: row 7 has norm 0"),
        (in_a_task_of(in_a_task_of(TrainingError("no"))), "TrainingError: no"),
        (
            UserExceptionWithTraceback(OUT_OF_MEMORY, "Traceback (most recent call last):\n..."),
            "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (WorkerHealthCheckFailedError("rank 1", WorkerCrashedError()), "WorkerCrashedError: The worker died"),
        (
            RayTaskError("step", "Traceback:\n  line\nModuleNotFoundError: no faiss", None),
            "ModuleNotFoundError: no faiss",
        ),
    ],
)
def test_an_error_is_its_cause_in_one_line_whatever_is_wrapped_around_it(error: Exception, text: str):
    described = describe(error)
    assert described.startswith(text)
    assert "\n" not in described
    assert "\x1b" not in described


def test_mistakes_are_told_from_what_comes_and_goes():
    assert is_mistake(in_a_task_of(ModuleNotFoundError("faiss")))
    assert is_mistake(UserExceptionWithTraceback(KeyError("k"), ""))
    for error in (OUT_OF_MEMORY, OSError("stale file handle"), ConnectionError(), MemoryError(), ActorDiedError()):
        assert not is_mistake(error)


def test_a_node_that_was_taken_back_is_told_from_one_that_broke():
    taken = RayActorError(preempted=True)
    assert is_preempted(WorkerHealthCheckFailedError("rank 1", taken))
    assert not is_preempted(RayActorError())
    assert not is_preempted(OUT_OF_MEMORY)


def test_failures_are_counted_since_the_last_finished_epoch():
    budget = FailureBudget(2)
    assert [budget.spend(), budget.spend()] == [True, True]
    budget.progress(1)
    assert [budget.spend(), budget.spend(), budget.spend()] == [True, True, False]
    budget.progress(1)  # the same epoch again is no progress
    assert not budget.spend()
    assert FailureBudget(0).spend() is False


def test_an_error_that_comes_back_at_once_never_restarts_for_ever():
    budget = FailureBudget(-1)
    assert sum(budget.spend() for _ in range(100)) == 10
    budget.progress(5)
    assert budget.spend()
