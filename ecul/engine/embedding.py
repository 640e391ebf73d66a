"""Embeddings of all images of an index."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.data.images import ImageStore
from ecul.data.transforms import normalise
from ecul.features.extract import extract
from ecul.models.backbone import DualStream
from ecul.models.inference import for_inference, pass_size
from ecul.progress import Progress
from ecul.types import IntArray, SampleIndex


def embed_images(
    model: DualStream,
    store: ImageStore,
    samples: SampleIndex,
    *,
    device: torch.device,
    batch_size: int | None,
    autocast: bool,
) -> Float[Tensor, "N D"]:
    """Returns unit embeddings, float32 in index order; every rank embeds its share and gets all of them.

    Args:
        model: on `device`; it is put into evaluation mode.
        store: decoded images of the index.
        samples: the index.
        device: where the embeddings shall be.
        batch_size: images at once, without their mirror images; None for what suits the device.
        autocast: use bfloat16 on a GPU.
    """
    num_images = len(samples)
    positions = np.arange(num_images)[runtime.own_share(num_images)]
    model.eval()
    half = autocast and device.type == "cuda"
    # in half precision folded weights would be rounded once more
    network = model if half else for_inference(model)
    progress = Progress("embedding images", total=len(positions), shown=runtime.is_main())

    def load(wanted: NDArray[np.int64]) -> UInt8[Tensor, "B 3 H W"]:
        images = store.get(wanted)
        progress.advance(len(wanted))
        return images

    with progress, torch.autocast(device.type, torch.bfloat16, enabled=half):
        features = embed_pixels(network, load, samples.modality, positions, device=device, batch_size=batch_size)
    if not len(positions):
        features = torch.empty((0, model.embedding_dim), device=device)
    return runtime.gather_shares(features, num_images)


def embed_pixels(
    network: DualStream,
    load: Callable[[NDArray[np.int64]], Tensor],
    modality: IntArray,
    positions: NDArray[np.int64],
    *,
    device: torch.device,
    batch_size: int | None = None,
) -> Float[Tensor, "P D"]:
    """Returns unit embeddings, float32, in the order of the positions.

    Args:
        network: on `device`, in evaluation mode.
        load: maps positions to uint8 images (B, 3, H, W) on the CPU.
        modality: int32 (N,).
        positions: P positions.
        device: where the network is.
        batch_size: images at once, without their mirror images; None for what suits the device.
    """
    return extract(
        network.embed,
        # moved while they are bytes; the network wants the channels last
        lambda wanted: normalise(load(wanted).to(device, memory_format=torch.channels_last)),
        modality,
        positions,
        batch_size=batch_size or pass_size(device) // 2,
    )
