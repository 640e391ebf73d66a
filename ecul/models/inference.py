"""A network as inference runs it fastest: batch normalisation folded into convolutions, channels last in memory."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ecul.models.backbone import DualStream

CPU_BATCH, GPU_BATCH = 64, 512
"""Images of a forward pass, mirror images included. On a CPU larger ones leave its caches."""


def pass_size(device: torch.device) -> int:
    """Returns how many images a forward pass takes on a device where nothing else is asked for."""
    return CPU_BATCH if device.type == "cpu" else GPU_BATCH


def for_inference(model: DualStream) -> DualStream:
    """Returns a copy in evaluation mode, channels last, whose batch normalisations are folded into the convolutions.

    Embeddings differ from the model's own by rounding. Changes of the model do not reach the copy.
    """
    folded = copy.deepcopy(model).eval()
    for module in [*folded.modules()]:
        before: tuple[str, nn.Module] | None = None
        # in our networks and torchvision's, a normalisation stands right behind the convolution that it follows
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.BatchNorm2d) and before is not None and isinstance(before[1], nn.Conv2d):
                setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(module, name, nn.Identity())
            before = (name, child)
    return folded.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
