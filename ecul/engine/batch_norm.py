"""Batch normalisation over several processes: which kind, and one set of running statistics."""

from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # torch's own public name for all kinds is missing

from ecul import runtime
from ecul.config import ModelConfig


def batch_norm_kind(model: ModelConfig, device: torch.device) -> Literal["local", "sync", "frozen"]:
    """Returns how a run normalises: `auto` is `sync` on several GPUs, else `local`."""
    if model.batch_norm != "auto":
        return model.batch_norm
    return "sync" if runtime.world_size() > 1 and device.type == "cuda" else "local"


@torch.no_grad()
def average_batch_norm(model: nn.Module) -> None:
    """Gives all ranks the same running statistics, those of all ranks' images together.

    Running statistics are averages over steps, so the variance is that of all images but for how far the ranks' means
    of one and the same step lie apart, which their averages no longer hold.

    With `local`, each rank has seen its own images only. Without this step an image's embedding would depend on the
    rank, and a restart, which begins with rank 0's statistics, would not continue an undisturbed run. The variance is
    the mean of the variances plus the variance of the means (law of total variance); ranks have equally many images.

    Args:
        model: changed in place. Statistics that are equal on all ranks keep their bits.
    """
    if runtime.world_size() == 1:
        return
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]
    means, variances = (
        runtime.gather_rows(torch.cat([getattr(layer, name) for layer in layers])[None]).double()
        for name in ("running_mean", "running_var")
    )
    mean = means.mean(dim=0)
    variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
    sizes = [layer.num_features for layer in layers]
    for layer, own_mean, own_variance in zip(layers, mean.split(sizes), variance.split(sizes), strict=True):
        layer.get_buffer("running_mean").copy_(own_mean)
        layer.get_buffer("running_var").copy_(own_variance)
