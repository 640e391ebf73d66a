"""Embeddings of all images of an index."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.data.images import ImageStore
from ecul.data.transforms import normalise
from ecul.features.extract import extract
from ecul.models.backbone import DualStream
from ecul.progress import Progress
from ecul.types import SampleIndex


def embed_images(
    model: DualStream, store: ImageStore, samples: SampleIndex, *, device: torch.device, batch_size: int, autocast: bool
) -> Float[Tensor, "N D"]:
    """Returns unit embeddings, float32 in index order; every rank embeds its share and gets all of them.

    Args:
        model: on `device`; it is put into evaluation mode.
        store: decoded images of the index.
        samples: the index.
        device: where the embeddings shall be.
        batch_size: images a forward pass.
        autocast: use bfloat16 on a GPU.
    """
    num_images = len(samples)
    positions = np.arange(num_images)[runtime.own_share(num_images)]
    model.eval()
    progress = Progress("embedding images", total=len(positions), shown=runtime.is_main())

    def load(wanted: NDArray[np.int64]) -> Tensor:
        images = normalise(store.get(wanted).to(device))
        progress.advance(len(wanted))
        return images

    with progress, torch.autocast(device.type, torch.bfloat16, enabled=autocast and device.type == "cuda"):
        features = extract(
            model.embed,
            load,
            samples.modality,
            positions,
            batch_size=batch_size,
        )
    if not len(positions):
        features = torch.empty((0, model.embedding_dim), device=device)
    return runtime.gather_shares(features, num_images)
