"""The steps of an epoch."""

import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from ecul import runtime
from ecul.config import TwoStepConfig
from ecul.data.loaders import load_batches, local_slice
from ecul.data.samplers import BatchPlan
from ecul.data.transforms import augment, draw_augmentation
from ecul.engine.session import Session
from ecul.engine.state import TrainState
from ecul.engine.step import Memories, StepBatch, compute_loss, update_memories
from ecul.errors import TrainingError
from ecul.losses.contrastive import nt_xent
from ecul.memory.schedule import TwoStepSchedule
from ecul.models.backbone import freeze_batch_norm

_VIEWS = ("visible", "visible_second", "infrared", "infrared_second")
_MEMORY_KEY = 101


def _views(session: Session, images: Tensor, names: tuple[str, ...], key: tuple[int, ...], part: slice) -> Tensor:
    """Augmented views of this rank's images, one view after the other."""
    data = session.config.data
    second = "exchange" if data.channel_exchange else "keep"
    channels = {"visible": "keep", "visible_second": second, "infrared": "infrared", "infrared_second": "infrared"}
    views: list[Tensor] = []
    for name in names:
        plan = draw_augmentation(
            runtime.generator(*key, _VIEWS.index(name)),
            num_images=session.config.batch.batch_size,
            height=data.height,
            width=data.width,
            padding=data.crop_padding,
            erasing_probability=data.erasing_probability,
            channels=channels[name],
        )
        views.append(augment(images, plan.rows(part)))
    return torch.cat(views)


def optimise(
    session: Session, state: TrainState, epoch: int, memories: Memories | None, plans: Iterator[BatchPlan]
) -> dict[str, float]:
    """Takes the epoch's steps; without memories they are those of stage 0."""
    config, device = session.config, session.device
    session.network.train()
    if config.model.batch_norm == "frozen":
        freeze_batch_norm(session.network)
    start = time.perf_counter()
    sums: dict[str, Tensor] = {}
    part = local_slice(config.batch.batch_size, rank=runtime.rank(), world_size=runtime.world_size())
    batches = load_batches(session.store, plans, rank=runtime.rank(), world_size=runtime.world_size(), device=device)
    finite = _FiniteWatch(epoch)
    for step, (plan, visible, infrared) in enumerate(batches, start=1):
        key = (config.seed, epoch, step)
        names = (_VIEWS[:2], _VIEWS[2:3] if memories else _VIEWS[2:])
        with record_function("ecul/data"):
            batch = StepBatch(
                _views(session, visible, names[0], key, part),
                _views(session, infrared, names[1], key, part),
                plan.visible,
                plan.infrared,
                part,
            )
        terms = _step(session, state.optimizer, batch, memories, key, finite)
        with record_function("ecul/logging"):
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value
            if runtime.is_main():
                session.reporter.progress(epoch, step, config.stages.iterations)
    finite.finish()
    seconds = time.perf_counter() - start
    means = _means(sums, config.stages.iterations)
    images = 3 * config.batch.batch_size * config.stages.iterations
    return means | {"seconds/train": seconds, "images_per_second": images / seconds} | _ranks(images / seconds, device)


def _ranks(images_per_second: float, device: torch.device) -> dict[str, float]:
    """Images a second of each of several workers, and the largest GPU memory of each."""
    on_gpu = device.type == "cuda"
    mebibytes = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else 0.0
    own = torch.tensor([[images_per_second / runtime.world_size(), mebibytes]], device=device)
    figures: dict[str, float] = {}
    for number, (speed, memory) in enumerate(runtime.gather_rows(own).tolist()):
        if runtime.world_size() > 1:
            figures[f"rank{number}/images_per_second"] = speed
        if on_gpu:
            figures[f"rank{number}/gpu_memory_mib"] = memory
    return figures


def _step(
    session: Session,
    optimizer: torch.optim.Optimizer,
    batch: StepBatch,
    memories: Memories | None,
    key: tuple[int, int, int],
    finite: "_FiniteWatch",
) -> Mapping[str, Tensor]:
    """One step: loss, optimizer, memories; returns the loss terms."""
    config, device = session.config, session.device
    optimizer.zero_grad(set_to_none=True)
    autocast = config.runtime.autocast and device.type == "cuda"
    with record_function("ecul/forward"), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        if memories is None:
            loss, terms, embeddings = _bootstrap_loss(session.network, batch, config.loss.temperature)
        else:
            loss, terms, embeddings = compute_loss(session.network, batch, memories, config.loss)
    with record_function("ecul/backward"):
        loss.backward()
    finite.check(loss.detach(), key[-1])
    with record_function("ecul/optimizer"):
        if config.optim.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(session.network.parameters(), config.optim.max_gradient_norm)
        optimizer.step()
    if memories is not None:
        intra, united = _schedule(config.memory.intra), _schedule(config.memory.united)
        memory_key = (*key, _MEMORY_KEY)
        with record_function("ecul/memory"):
            update_memories(memories, embeddings, batch, intra=intra, united=united, epoch=key[1], key=memory_key)
    return terms


def _schedule(config: TwoStepConfig) -> TwoStepSchedule:
    return TwoStepSchedule(**config.model_dump())


def _bootstrap_loss(
    network: nn.Module, batch: StepBatch, temperature: float
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Instance discrimination inside each modality; negatives are this rank's."""
    embeddings = network(batch.visible, batch.infrared).float()
    parts = embeddings.chunk(4)
    visible = nt_xent(parts[0], parts[1], temperature=temperature).mean()
    infrared = nt_xent(parts[2], parts[3], temperature=temperature).mean()
    loss = visible + infrared
    terms = {"bootstrap_visible": visible, "bootstrap_infrared": infrared, "total": loss}
    return loss, {name: value.detach() for name, value in terms.items()}, embeddings.detach()


def _means(sums: Mapping[str, Tensor], iterations: int) -> dict[str, float]:
    """Mean of each term over steps and ranks, with `united`, `instance` and `intra` as sums of their two sides."""
    if not sums:
        return {}
    stacked = torch.stack(list(sums.values()))
    stacked = runtime.gather_rows(stacked[None]).mean(dim=0) / iterations
    means = {f"loss/{name}": value for name, value in zip(sums, stacked.tolist(), strict=True)}
    for kind in ("united", "instance"):
        if f"loss/{kind}_visible" in means:
            means[f"loss/{kind}"] = means[f"loss/{kind}_visible"] + means[f"loss/{kind}_infrared"]
    return means


class _FiniteWatch:
    """Stops at a non-finite loss.

    On a CPU it stops before the optimizer moves; on a GPU one step late, so that no step waits for the device. What
    moved in between is discarded, since nothing is saved within an epoch.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._pending: tuple[Tensor, torch.cuda.Event, int] | None = None

    def check(self, loss: Tensor, step: int) -> None:
        """Judges this loss, or on a GPU the one before."""
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
        """Judges what is still pending."""
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
