"""What stays the same during a run, and embedding the images of an index."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecul import runtime
from ecul.config import Config
from ecul.data.dataset import ImageStore
from ecul.data.transforms import normalise
from ecul.engine.interfaces import ClusterFn, Reporter
from ecul.features.extract import extract
from ecul.models.backbone import DualStream
from ecul.types import FeatureBank, SampleIndex


@dataclass(frozen=True)
class Session:
    """What stays the same during a run.

    Attributes:
        samples: training images, without identities.
        network: the model as it is called in training (compiled, distributed), sharing `TrainState.model`'s weights.
    """

    config: Config
    samples: SampleIndex
    store: ImageStore
    network: nn.Module
    device: torch.device
    cluster_fn: ClusterFn
    reporter: Reporter


def embed_images(
    model: DualStream, store: ImageStore, samples: SampleIndex, *, device: torch.device, batch_size: int, autocast: bool
) -> NDArray[np.float32]:
    """Returns unit embeddings float32 (N, D) in index order; every rank does its share and gets all of them."""
    num_images = len(samples)
    share = -(-num_images // runtime.world_size())
    positions = np.arange(num_images)[runtime.rank() * share : (runtime.rank() + 1) * share]
    model.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast and device.type == "cuda"):
        features = extract(
            model.embed,
            lambda wanted: normalise(store.get(wanted).to(device)),
            samples.modality,
            positions,
            batch_size=batch_size,
        )
    if not len(positions):
        features = np.empty((0, model.embedding_dim), np.float32)
    return runtime.gather_arrays(features, device=device)


def embed_bank(session: Session, model: DualStream) -> FeatureBank:
    """Returns the embeddings of all training images."""
    config = session.config
    features = embed_images(
        model,
        session.store,
        session.samples,
        device=session.device,
        batch_size=config.evaluation.batch_size,
        autocast=config.runtime.autocast,
    )
    return FeatureBank(features, session.samples.modality, session.samples.camera)
