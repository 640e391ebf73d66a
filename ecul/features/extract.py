"""Embeddings of many images: mean over the image and its mirror image, normalised (docs/method.md, "Terms")."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul.types import IntArray, Modality


@torch.no_grad()
def extract(
    embed: Callable[[Tensor, Modality], Tensor],
    load: Callable[[NDArray[np.int64]], Tensor],
    modality: IntArray,
    positions: NDArray[np.int64],
    *,
    batch_size: int,
) -> Float[Tensor, "P D"]:
    """Returns float32 unit embeddings on the model's device, in the order of `positions`.

    Args:
        embed: maps normalised images of one modality to embeddings (`DualStream.embed`, in evaluation mode).
        load: maps positions to normalised images on the model's device.
        modality: int32 (N,) of the whole index.
        positions: P positions in the index; without any, the result is (0, 0).
        batch_size: images per forward pass; the flipped ones double it.
    """
    # no_grad, not inference_mode: the result becomes a memory that takes part in the loss.
    features = torch.empty((0, 0))
    for value in Modality:
        rows = np.flatnonzero(modality[positions] == value)
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            images = load(positions[batch])
            both = embed(torch.cat([images, images.flip(3)]), value).float()
            embedded = F.normalize(both[: len(images)] + both[len(images) :])
            if not len(features):
                features = embedded.new_empty(len(positions), embedded.shape[1])
            features[torch.from_numpy(batch).to(features.device)] = embedded
    return features
