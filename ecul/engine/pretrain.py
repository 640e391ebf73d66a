"""Supervised training on synthetic visible people: the small backbone's counterpart of ImageNet weights."""

import logging
import time

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from ecul import runtime
from ecul.data.transforms import augment, draw_augmentation
from ecul.models.backbone import DualStream, build_model
from ecul.progress import track

log = logging.getLogger(__name__)
_SCALE = 20.0
_SMOOTHING = 0.1


def pretrain(
    images: UInt8[np.ndarray, "N 3 H W"],
    identity: NDArray[np.int32],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    crop_padding: int,
    seed: int,
    device: torch.device,
) -> DualStream:
    """Returns a small network that classifies the identities of visible images; both stems get the trained weights.

    Most images are shown by a single colour channel or in grey, so that the network looks at form before colour, as one
    trained on ImageNet does: a class there has all colours.

    Args:
        images: visible images.
        identity: dense numbers 0..K-1.
        steps: optimisation steps.
        batch_size: images a step.
        learning_rate: the highest; it rises over the first tenth and falls to 0 along a cosine.
        crop_padding: pixels around the image before the random crop.
        seed: of weights, batches and augmentation.
        device: where to train.
    """
    runtime.make_deterministic(seed)
    model = build_model("small").to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    classifier = nn.Linear(model.embedding_dim, int(identity.max()) + 1, bias=False).to(device)
    parameters = [p for p in (*model.parameters(), *classifier.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.1)
    model.train()
    start = time.perf_counter()
    for step in track(range(steps), "training, steps", total=steps):
        batch, target = _batch(images, identity, batch_size, crop_padding, (seed, step), device)
        logits = _SCALE * F.linear(model(batch, None), F.normalize(classifier.weight))
        loss = F.cross_entropy(logits, target, label_smoothing=_SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            accuracy = (logits.argmax(1) == target).float().mean()
            seconds = time.perf_counter() - start
            log.info("step %4d  loss %.3f  accuracy %.2f  %.0f s", step + 1, loss.item(), accuracy.item(), seconds)
    model.infrared_stem.load_state_dict(model.visible_stem.state_dict())
    return model.eval()


def _batch(
    images: NDArray[np.uint8],
    identity: NDArray[np.int32],
    batch_size: int,
    crop_padding: int,
    key: tuple[int, int],
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    generator = runtime.generator(*key)
    chosen = generator.choice(len(images), batch_size, replace=len(images) < batch_size)
    plan = draw_augmentation(
        generator,
        num_images=batch_size,
        height=images.shape[2],
        width=images.shape[3],
        padding=crop_padding,
        erasing_probability=0.3,
        channels="infrared",
    )
    batch = augment(torch.from_numpy(images[chosen]).to(device), plan)
    return batch, torch.from_numpy(identity[chosen].astype(np.int64)).to(device)
