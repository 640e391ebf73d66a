"""Embeddings of many images: mean over the image and its horizontal flip, then L2 normalisation (method section 1)."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul.types import FloatArray, IntArray, Modality


@torch.inference_mode()
def extract(
    embed: Callable[[Tensor, Modality], Tensor],
    load: Callable[[NDArray[np.int64]], Tensor],
    modality: IntArray,
    positions: NDArray[np.int64],
    *,
    batch_size: int,
) -> FloatArray:
    """Returns float32 (len(positions), D) unit embeddings, in the order of `positions`.

    Args:
        embed: maps normalised images of one modality to embeddings (`DualStream.embed`, in evaluation mode).
        load: maps positions to normalised images on the model's device.
        modality: int32 (N,) of the whole index.
        positions: which images; may be empty only if D does not matter to the caller.
        batch_size: images per forward pass; the flipped ones double it.
    """
    parts: list[Float[Tensor, "B D"]] = []
    wanted = np.concatenate([np.flatnonzero(modality[positions] == value) for value in Modality])
    for value in Modality:
        side = positions[modality[positions] == value]
        for start in range(0, len(side), batch_size):
            images = load(side[start : start + batch_size])
            both = embed(torch.cat([images, images.flip(3)]), value).float()
            parts.append(F.normalize(both[: len(images)] + both[len(images) :]).cpu())
    if not parts:
        return np.empty((0, 0), np.float32)
    stacked = torch.cat(parts).numpy()
    features = np.empty_like(stacked)
    features[wanted] = stacked
    return features
