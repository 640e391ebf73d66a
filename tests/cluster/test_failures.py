import pytest
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from cluster.failures import describe, is_lost
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


def test_an_error_is_described_in_one_line():
    assert describe(ValueError("\n  one\ntwo")) == "ValueError: one"
    assert describe(ValueError()) == "ValueError"
