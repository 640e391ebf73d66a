"""What a run works with: its dataset, images, network and optimizer, built from the configuration."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ecul import runtime
from ecul.config import Config
from ecul.data.dataset import ReidDataset, open_dataset
from ecul.data.images import ImageStore
from ecul.data.layouts import protocols_of
from ecul.engine.batch_norm import batch_norm_kind
from ecul.engine.data_folder import check_data_folder
from ecul.engine.interfaces import ClusteringFn, Reporter
from ecul.engine.optim import build_optimizer
from ecul.engine.state import TrainState
from ecul.errors import ConfigError
from ecul.models.backbone import DualStream, build_model
from ecul.models.imagenet import TORCHVISION_SUFFIXES, imagenet_weights, resnet50_weights
from ecul.models.weights import SHIPPED, load_into
from ecul.types import SampleIndex

_GIB = 2**30


@dataclass(frozen=True)
class Session:
    """What stays the same during a run.

    Attributes:
        config: all settings.
        samples: training images, without identities.
        store: the same images, decoded.
        network: the model as it is called in training (compiled, distributed), sharing `TrainState.model`'s weights.
        device: where the network is.
        clustering_fn: clusters each epoch's features; called on rank 0.
        reporter: receives the progress; called on rank 0.
    """

    config: Config
    samples: SampleIndex
    store: ImageStore
    network: nn.Module
    device: torch.device
    clustering_fn: ClusteringFn
    reporter: Reporter


def open_session(
    config: Config, dataset: ReidDataset, *, clustering_fn: ClusteringFn, reporter: Reporter
) -> tuple[Session, TrainState]:
    """Returns a session and its state before the first epoch; only the images, not the identities, go in."""
    device = runtime.pick_device(config.runtime.device)
    runtime.make_deterministic(config.seed)
    model = build_network(config).to(device)
    session = Session(
        config=config,
        samples=dataset.train.samples,
        store=image_store(config, dataset.train.samples.paths),
        network=for_training(model, config, device),
        device=device,
        clustering_fn=clustering_fn,
        reporter=reporter,
    )
    return session, TrainState(model, build_optimizer(model, config.optim))


def open_data(config: Config, *, option: str = "--set data.root=FOLDER") -> ReidDataset:
    """Opens the configured dataset.

    Args:
        config: all settings.
        option: how a user gives another folder, for the error.

    Raises:
        DataError: something about the folder is wrong.
        ConfigError: a configured evaluation protocol is not one of the dataset's layout.
    """
    data = config.data
    check_data_folder(config, option=option)
    dataset = open_dataset(
        data.root, layout=data.layout, trial=data.trial, hold_out_validation=data.hold_out_validation
    )
    protocols_of(dataset.layout, config.evaluation.protocols)
    return dataset


def image_store(config: Config, paths: tuple[str, ...]) -> ImageStore:
    """Returns access to images at the configured size."""
    data = config.data
    return ImageStore(
        paths,
        height=data.height,
        width=data.width,
        cache_bytes=int(data.cache_gib * _GIB),
        num_threads=data.decode_threads,
    )


def build_network(config: Config) -> DualStream:
    """Returns the configured network with its starting weights, on the CPU.

    Raises:
        CheckpointError: a weights file that is missing or does not fit.
    """
    options = config.model
    weights, pretrained = options.weights, None
    if weights == "imagenet":
        pretrained = imagenet_weights()
    elif weights.endswith(TORCHVISION_SUFFIXES) and options.backbone == "agw_resnet50":
        pretrained = resnet50_weights(Path(weights))
    model = build_model(options.backbone, pretrained=pretrained, non_local=options.non_local)
    if pretrained is None and weights != "none":
        load_into(model, SHIPPED.get(weights, Path(weights)), backbone=options.backbone)
    return model


def for_training(model: DualStream, config: Config, device: torch.device) -> nn.Module:
    """Returns the model as training calls it: memory format, distributed, compiled."""
    if config.runtime.channels_last:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    network: nn.Module = model
    if runtime.world_size() > 1:
        if batch_norm_kind(config.model, device) == "sync":
            if device.type != "cuda":
                raise ConfigError(f"model.batch_norm=sync needs GPUs, got {device.type}; use local or frozen")
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        network = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
        # Else rank 0's images alone would make the running statistics (ecul.engine.batch_norm). They start equal.
        network.broadcast_buffers = False
    return torch.compile(network) if config.runtime.compile else network  # pyright: ignore[reportReturnType]
