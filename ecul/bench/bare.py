"""The network alone, beside which the training loop and the extraction are held."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ecul.data.transforms import normalise
from ecul.engine.embedding import embed_images
from ecul.engine.session import Session
from ecul.models.backbone import DualStream, freeze_batch_norm
from ecul.models.inference import for_inference, pass_size
from ecul.types import Modality, SampleIndex

_WARM_UP = 3
_MOST_IMAGES = {"cpu": 2048}
_MANY = 20_480


def bare_training(session: Session, optimizer: torch.optim.Optimizer, *, steps: int) -> float:
    """Returns images/s of forward pass, backward pass and optimizer alone, on a batch that is there already.

    Args:
        session: with the network, which is changed.
        optimizer: of the network.
        steps: timed steps, after a few untimed ones.
    """
    config, network = session.config, session.network
    size = config.batch.batch_size
    visible, infrared = (_batch(session, count) for count in (2 * size, size))
    network.train()
    if config.model.batch_norm == "frozen":
        freeze_batch_norm(network)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with _precision(session):
            loss = network(visible, infrared).sum()
        loss.backward()
        optimizer.step()

    return 3 * size * steps / _seconds(step, steps, session.device)


def extraction(session: Session, model: DualStream) -> dict[str, float]:
    """Returns images/s of the extraction of training images (at most 2,048 on a CPU), and of its bare forward passes.

    An image is passed twice: as it is and mirrored.
    """
    config, device, samples = session.config, session.device, session.samples
    count = min(len(samples), _MOST_IMAGES.get(device.type, _MANY))
    part = SampleIndex(samples.paths[:count], samples.modality[:count], samples.camera[:count])

    def extract() -> None:
        embed_images(
            model,
            session.store,
            part,
            device=device,
            batch_size=config.evaluation.batch_size,
            autocast=config.runtime.autocast,
        )

    half = config.runtime.autocast and device.type == "cuda"
    network = model.eval() if half else for_inference(model)
    size = 2 * config.evaluation.batch_size if config.evaluation.batch_size else pass_size(device)
    images = _batch(session, size)

    def forward() -> None:
        with torch.no_grad(), _precision(session):
            network.embed(images, Modality.VISIBLE)

    passes = max(1, round(2 * count / size))
    seconds = min(_seconds(extract, 1, device, warm_up=1) for _ in range(2))
    bare = min(_seconds(forward, passes, device) for _ in range(2))
    return {
        "extraction_images_per_second": count / seconds,
        "bare_extraction_images_per_second": passes * size / 2 / bare,
    }


def _batch(session: Session, count: int) -> Tensor:
    data, generator = session.config.data, torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, data.height, data.width), generator=generator, dtype=torch.uint8)
    return normalise(pixels.to(session.device, memory_format=torch.channels_last))


def _precision(session: Session) -> torch.autocast:
    device = session.device.type
    return torch.autocast(device, torch.bfloat16, enabled=session.config.runtime.autocast and device == "cuda")


def _seconds(work: Callable[[], None], times: int, device: torch.device, *, warm_up: int = _WARM_UP) -> float:
    """Seconds of so many runs of some work, after untimed ones."""
    for _ in range(warm_up):
        work()
    _wait(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
