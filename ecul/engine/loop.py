"""The steps of an epoch, and the means over them."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.profiler import record_function

from ecul import runtime
from ecul.data.batches import Loaded, load_batches, local_slice
from ecul.data.samplers import BatchPlan
from ecul.data.transforms import augment, draw_augmentation
from ecul.engine.batch_norm import average_batch_norm
from ecul.engine.loss import SUMMED_KINDS
from ecul.engine.memories import Memories, StepBatch
from ecul.engine.random_keys import view_key
from ecul.engine.session import Session
from ecul.engine.state import TrainState
from ecul.engine.step import FiniteWatch, take_step
from ecul.models.backbone import freeze_batch_norm
from ecul.progress import track

_VIEWS = ("visible", "visible_second", "infrared", "infrared_second")


def _views(
    session: Session, images: Tensor, names: tuple[str, ...], key: tuple[int, int, int], part: slice, number: int
) -> Tensor:
    """Returns augmented views of this rank's images, one view after the other; `number` is the batch's in its step."""
    data = session.config.data
    second = "exchange" if data.channel_exchange else "keep"
    channels = {"visible": "keep", "visible_second": second, "infrared": "infrared", "infrared_second": "infrared"}
    views: list[Tensor] = []
    for name in names:
        # Drawn for the whole global batch, then cut: an image's augmentation does not depend on the number of ranks.
        plan = draw_augmentation(
            runtime.generator(*view_key(*key, number * len(_VIEWS) + _VIEWS.index(name))),
            num_images=session.config.batch.batch_size,
            height=data.height,
            width=data.width,
            padding=data.crop_padding,
            erasing_probability=data.erasing_probability,
            channels=channels[name],
        )
        views.append(augment(images, plan.rows(part)))
    return torch.cat(views)


def _step_batch(
    session: Session,
    loaded: Sequence[Loaded],
    key: tuple[int, int, int],
    part: slice,
    *,
    bootstrap: bool,
    number: int = 0,
) -> StepBatch:
    """Returns the step's batch from `number` on; a second one is part of the first."""
    plan, visible, infrared = loaded[number]
    last = number + 1 == len(loaded)
    return StepBatch(
        visible=_views(session, visible, _VIEWS[:2], key, part, number),
        infrared=_views(session, infrared, _VIEWS[2:] if bootstrap else _VIEWS[2:3], key, part, number),
        visible_positions=plan.visible,
        infrared_positions=plan.infrared,
        part=part,
        united=None if last else _step_batch(session, loaded, key, part, bootstrap=bootstrap, number=number + 1),
    )


def optimise(
    session: Session, state: TrainState, epoch: int, memories: Memories | None, plans: Iterator[BatchPlan]
) -> dict[str, float]:
    """Takes the epoch's steps and returns their metrics by name.

    Args:
        session: of the run.
        state: its optimizer and network are changed.
        epoch: counted from 1.
        memories: of the epoch, changed; None in stage 0.
        plans: the batches.

    Raises:
        TrainingError: a loss that is not finite.
    """
    config, device = session.config, session.device
    session.network.train()
    if config.model.batch_norm == "frozen":
        freeze_batch_norm(session.network)
    start = time.perf_counter()
    sums: dict[str, Tensor] = {}
    part = local_slice(config.batch.batch_size, rank=runtime.rank(), world_size=runtime.world_size())
    batches = load_batches(session.store, plans, rank=runtime.rank(), world_size=runtime.world_size(), device=device)
    watch = FiniteWatch(epoch)
    # on a terminal the run directory's bar shows the steps
    shown = runtime.is_main() and not sys.stderr.isatty()
    batches = track(batches, f"epoch {epoch}, steps", total=config.stages.iterations, shown=shown)
    num_batches = 0
    for step, loaded in enumerate(batches, start=1):
        key = (config.seed, epoch, step)
        with record_function("ecul/data"):
            batch = _step_batch(session, loaded, key, part, bootstrap=memories is None)
            num_batches += len(loaded)
        terms = take_step(session, state.optimizer, batch, memories, key, watch)
        with record_function("ecul/logging"):
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value
            if runtime.is_main():
                session.reporter.progress(epoch, step, config.stages.iterations)
    watch.finish()
    average_batch_norm(state.model)
    seconds = time.perf_counter() - start
    means = _means(sums, config.stages.iterations)
    images = 3 * config.batch.batch_size * num_batches
    return means | {"seconds/train": seconds, "images_per_second": images / seconds} | _ranks(images / seconds, device)


def _ranks(images_per_second: float, device: torch.device) -> dict[str, float]:
    """Returns the images a second of each of several workers, and the largest GPU memory of each."""
    on_gpu = device.type == "cuda"
    mebibytes = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else 0.0
    own = torch.tensor([[images_per_second / runtime.world_size(), mebibytes]], device=device)
    metrics: dict[str, float] = {}
    for number, (speed, memory) in enumerate(runtime.gather_rows(own).tolist()):
        if runtime.world_size() > 1:
            metrics[f"rank{number}/images_per_second"] = speed
        if on_gpu:
            metrics[f"rank{number}/gpu_memory_mib"] = memory
    return metrics


def _means(sums: Mapping[str, Tensor], iterations: int) -> dict[str, float]:
    """Returns the mean of each term over steps and ranks; some kinds also as the sum of their two sides."""
    if not sums:
        return {}
    stacked = torch.stack(list(sums.values()))
    stacked = runtime.gather_rows(stacked[None]).mean(dim=0) / iterations
    means = {f"loss/{name}": value for name, value in zip(sums, stacked.tolist(), strict=True)}
    for kind in SUMMED_KINDS:
        if f"loss/{kind}_visible" in means:
            means[f"loss/{kind}"] = means[f"loss/{kind}_visible"] + means[f"loss/{kind}_infrared"]
    return means
