"""Augmentation of whole batches, as tensor operations on the device.

The random numbers of a step are drawn for the global batch from a generator of that step, and each worker applies
its own rows: what an image looks like depends neither on the number of workers nor on which one handles it.
The recipe is that of the public codes (docs/method.md, "An epoch, step by step").
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Num, UInt8
from numpy.typing import NDArray
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
_ERASED = (0.4914, 0.4822, 0.4465)  # put in after normalisation, as the public recipes do
_ERASED_AREA = (0.02, 0.4)
_ERASED_ASPECT = 0.3
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Augmentation:
    """What is to be done to each image of a batch.

    Attributes:
        offset: int64 (B, 2), crop's top and left in the padded image.
        flip: bool (B,).
        box: int64 (B, 4), erased rows [top, bottom) and columns [left, right); empty where nothing is erased.
        mixing: float32 (B, 3, 3), new channels as weights of the old ones.
        padding: pixels of zeros put around the image before the crop.
    """

    offset: NDArray[np.int64]
    flip: NDArray[np.bool_]
    box: NDArray[np.int64]
    mixing: NDArray[np.float32]
    padding: int

    def rows(self, part: slice) -> "Augmentation":
        """The same for a part of the batch."""
        return replace(
            self, offset=self.offset[part], flip=self.flip[part], box=self.box[part], mixing=self.mixing[part]
        )


def draw_augmentation(
    generator: np.random.Generator,
    *,
    num_images: int,
    height: int,
    width: int,
    padding: int,
    erasing_probability: float,
    channels: str,
) -> Augmentation:
    """Returns random crops, flips, erasures and channel mixes for a batch.

    Args:
        generator: of this step and view; all that is random comes from it.
        num_images: global batch size.
        height: of the images, pixels.
        width: of the images, pixels.
        padding: see `Augmentation`.
        erasing_probability: share of images with an erased box.
        channels: `keep`; `exchange` (one channel shown three times, drawn for each image); or `infrared`
            (a channel for 3/4 of the images, grey for 1/8).
    """
    offset = generator.integers(0, 2 * padding + 1, (num_images, 2))
    flip = generator.random(num_images) < 0.5
    box = _draw_boxes(generator, num_images, height=height, width=width, probability=erasing_probability)
    mixing = _draw_mixing(generator, num_images, channels)
    return Augmentation(offset=offset, flip=flip, box=box, mixing=mixing, padding=padding)


def _draw_boxes(
    generator: np.random.Generator, num_images: int, *, height: int, width: int, probability: float
) -> NDArray[np.int64]:
    erased = generator.random(num_images) < probability
    area = generator.uniform(*_ERASED_AREA, num_images) * height * width
    aspect = generator.uniform(_ERASED_ASPECT, 1 / _ERASED_ASPECT, num_images)
    rows = np.minimum(np.sqrt(area * aspect).round(), height - 1) * erased
    columns = np.minimum(np.sqrt(area / aspect).round(), width - 1) * erased
    top = np.floor(generator.random(num_images) * (height - rows))
    left = np.floor(generator.random(num_images) * (width - columns))
    return np.stack([top, top + rows, left, left + columns], axis=1).astype(np.int64)


def _draw_mixing(generator: np.random.Generator, num_images: int, channels: str) -> NDArray[np.float32]:
    one_channel = np.repeat(np.eye(3, dtype=np.float32)[:, None], 3, axis=1)
    choices = np.concatenate(
        [one_channel, np.tile(np.asarray(_LUMINANCE, np.float32), (1, 3, 1)), np.eye(3, dtype=np.float32)[None]]
    )
    share = {
        "keep": (0, 0, 0, 0, 1),
        "exchange": (1 / 3, 1 / 3, 1 / 3, 0, 0),
        "infrared": (1 / 4, 1 / 4, 1 / 4, 1 / 8, 1 / 8),
    }[channels]
    return choices[generator.choice(5, num_images, p=share)]


def normalise(images: Num[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Returns (x / 255 - mean) / std with ImageNet's statistics, on the images' device."""
    mean = torch.tensor(MEAN, device=images.device).mul(255).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).mul(255).view(3, 1, 1)
    return (images.float() - mean).div_(std)


def augment(images: UInt8[Tensor, "B 3 H W"], plan: Augmentation) -> Float[Tensor, "B 3 H W"]:
    """Returns the images cropped, flipped, mixed, normalised and erased, on their device."""
    _, _, height, width = images.shape
    device = images.device

    def moved(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device, non_blocking=True)

    rows = moved(plan.offset[:, :1] + np.arange(height))
    columns = np.where(plan.flip[:, None], np.arange(width)[::-1], np.arange(width)) + plan.offset[:, 1:]
    padded = F.pad(images, (plan.padding,) * 4)
    batch = torch.arange(len(images), device=device).view(-1, 1, 1, 1)
    channel = torch.arange(3, device=device).view(1, 3, 1, 1)
    cropped = padded[batch, channel, rows[:, None, :, None], moved(columns)[:, None, None, :]]
    mixed = torch.einsum("bij,bjhw->bihw", moved(plan.mixing), cropped.float())
    erased = torch.tensor(_ERASED, device=device).view(3, 1, 1)
    return torch.where(_box_mask(moved(plan.box), height, width), erased, normalise(mixed))


def _box_mask(box: Tensor, height: int, width: int) -> Tensor:
    row = torch.arange(height, device=box.device)
    column = torch.arange(width, device=box.device)
    in_rows = (row >= box[:, :1]) & (row < box[:, 1:2])
    in_columns = (column >= box[:, 2:3]) & (column < box[:, 3:])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]
