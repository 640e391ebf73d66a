"""From configuration to dataset, images and network."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ecul import runtime
from ecul.config import Config
from ecul.data.dataset import ImageStore
from ecul.data.layouts import ReidDataset, open_dataset
from ecul.errors import ConfigError
from ecul.models.backbone import DualStream, build_model
from ecul.models.weights import SHIPPED, load_into

_GIB = 2**30


def open_data(config: Config) -> ReidDataset:
    """Opens the configured dataset.

    Raises:
        DataError: something about the folder is wrong.
    """
    data = config.data
    return open_dataset(data.root, layout=data.layout, trial=data.trial, hold_out_validation=data.hold_out_validation)


def image_store(config: Config, paths: tuple[str, ...]) -> ImageStore:
    """Returns access to images at the configured size."""
    data = config.data
    return ImageStore(
        paths,
        height=data.height,
        width=data.width,
        cache_bytes=int(data.cache_gib * _GIB),
        num_threads=max(data.num_workers, 2),
    )


def build_network(config: Config) -> DualStream:
    """Returns the configured network with its starting weights, on the CPU.

    Raises:
        CheckpointError: a weights file that does not fit.
    """
    options = config.model
    model = build_model(options.backbone, imagenet=options.weights == "imagenet", non_local=options.non_local)
    if options.weights not in ("imagenet", "none"):
        load_into(model, SHIPPED.get(options.weights, Path(options.weights)), backbone=options.backbone)
    return model


def for_training(model: DualStream, config: Config, device: torch.device) -> nn.Module:
    """Returns the model as training calls it: memory format, distributed, compiled."""
    if config.runtime.channels_last:
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    network: nn.Module = model
    if runtime.world_size() > 1:
        if config.model.batch_norm == "sync":
            if device.type != "cuda":
                raise ConfigError(f"model.batch_norm=sync needs GPUs, got {device.type}; use local or frozen")
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        network = DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
    return torch.compile(network) if config.runtime.compile else network  # pyright: ignore[reportReturnType]
