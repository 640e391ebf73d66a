"""One training step: embeddings, loss, optimizer, memory update."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from ecul.engine.loss import bootstrap_loss, compute_loss
from ecul.engine.memories import Memories, StepBatch, update_memories
from ecul.engine.random_keys import memory_key
from ecul.engine.session import Session
from ecul.errors import TrainingError


def take_step(
    session: Session,
    optimizer: torch.optim.Optimizer,
    batch: StepBatch,
    memories: Memories | None,
    key: tuple[int, int, int],
    watch: "FiniteWatch",
) -> Mapping[str, Tensor]:
    """Takes one step and returns the loss terms by name.

    Args:
        session: with the network.
        optimizer: of the network.
        batch: this rank's images.
        memories: changed by the step; None in stage 0.
        key: seed, epoch and step.
        watch: is shown the loss.

    Raises:
        TrainingError: the loss is not finite.
    """
    config, device = session.config, session.device
    optimizer.zero_grad(set_to_none=True)
    autocast = config.runtime.autocast and device.type == "cuda"
    with record_function("ecul/forward"), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        if memories is None:
            loss, terms, embeddings = bootstrap_loss(session.network, batch, temperature=config.loss.temperature)
        else:
            loss, terms, embeddings = compute_loss(session.network, batch, memories, config.loss)
    with record_function("ecul/backward"):
        loss.backward()
    watch.check(loss.detach(), key[-1])
    with record_function("ecul/optimizer"):
        if config.optim.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(session.network.parameters(), config.optim.max_gradient_norm)
        optimizer.step()
    if memories is not None:
        with record_function("ecul/memory"):
            update_memories(memories, embeddings, batch, key=memory_key(*key))
    return terms


class FiniteWatch:
    """Stops the training at a loss that is not finite.

    On a CPU it stops before the optimizer moves. On a GPU it stops one step later, so that no step waits for the
    device; nothing is saved within an epoch, so what moved in between is lost anyway.
    """

    def __init__(self, epoch: int) -> None:
        """`epoch` is named in the error."""
        self._epoch = epoch
        self._pending: tuple[Tensor, torch.cuda.Event, int] | None = None

    def check(self, loss: Tensor, step: int) -> None:
        """Judges this loss, or on a GPU the one before.

        Raises:
            TrainingError: it is not finite.
        """
        if not loss.is_cuda:
            self._judge(loss, step)
            return
        self.finish()
        host = torch.empty((), dtype=loss.dtype, pin_memory=True)
        host.copy_(loss, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._pending = (host, copied, step)

    def finish(self) -> None:
        """Judges the loss that is still pending, if any.

        Raises:
            TrainingError: it is not finite.
        """
        if self._pending is not None:
            loss, copied, step = self._pending
            self._pending = None
            copied.synchronize()
            self._judge(loss, step)

    def _judge(self, loss: Tensor, step: int) -> None:
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"epoch {self._epoch}, step {step}: the loss is {float(loss)}; lower optim.learning_rate or set "
                "optim.max_gradient_norm, then resume from the last checkpoint"
            )
