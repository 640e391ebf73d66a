"""Dual-stream networks: one stem per modality, a shared body, GeM pooling and a BNNeck.

Shape legend: B images, C channels, H x W pixels, D embedding size.
"""

import copy
from collections.abc import Mapping
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ecul.models.heads import BNNeck
from ecul.models.pooling import GeM, NonLocal
from ecul.names import Backbone
from ecul.types import Modality

_SMALL_WIDTHS = (24, 32, 64, 128)


class DualStream(nn.Module):
    """A network with a visible and an infrared stem over one shared body.

    Attributes:
        embedding_dim: D.
    """

    def __init__(self, stem: nn.Module, body: nn.Module, *, embedding_dim: int) -> None:
        """Takes one stem; both modalities start from a copy of it, as AGW starts both from ImageNet's conv1."""
        super().__init__()
        self.visible_stem = stem
        self.infrared_stem = copy.deepcopy(stem)
        self.body = body
        self.pooling = GeM()
        self.head = BNNeck(embedding_dim)
        self.embedding_dim = embedding_dim

    def forward(
        self,
        visible: Float[Tensor, "V C H W"] | None,
        infrared: Float[Tensor, "I C H W"] | None,
        *more: Float[Tensor, "_ C H W"],
    ) -> Float[Tensor, "B D"]:
        """Returns unit embeddings of the visible images, then of the infrared ones, through one pass of the body.

        Args:
            visible: normalised images, or None.
            infrared: normalised images with the channel repeated, or None.
            more: visible and infrared images of further batches, in turn; each batch has a pass of its own, with its
                own batch statistics, and its embeddings follow.
        """
        batches = [(visible, infrared), *zip(more[::2], more[1::2], strict=True)]
        embeddings = [self._one_pass(*batch) for batch in batches]
        return torch.cat(embeddings) if more else embeddings[0]

    def _one_pass(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        maps = [
            stem(images)
            for stem, images in ((self.visible_stem, visible), (self.infrared_stem, infrared))
            if images is not None
        ]
        return self.head(self.pooling(self.body(torch.cat(maps))))

    def embed(self, images: Float[Tensor, "B C H W"], modality: Modality) -> Float[Tensor, "B D"]:
        """Returns the unit embeddings of images of one modality."""
        return self(images, None) if modality == Modality.VISIBLE else self(None, images)


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, num_in: int, num_out: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(num_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(num_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or num_in != num_out:
            self.shortcut = nn.Sequential(nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out))

    def forward(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K h w"]:
        """Returns the block's output maps."""
        return torch.relu(self.body(maps) + self.shortcut(maps))


def _small() -> DualStream:
    widths = _SMALL_WIDTHS
    stem = nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
    body = nn.Sequential(
        _ResidualBlock(widths[0], widths[1], stride=1),
        _ResidualBlock(widths[1], widths[2], stride=2),
        _ResidualBlock(widths[2], widths[3], stride=2),
    )
    return DualStream(stem, body, embedding_dim=widths[-1])


def _agw_resnet50(*, pretrained: Mapping[str, Tensor] | None, non_local: bool) -> DualStream:
    from torchvision.models import resnet50  # two seconds, which the small network need not wait for

    network = resnet50()
    if pretrained is not None:
        network.load_state_dict(pretrained)
    for module in network.layer4.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    layer2, layer3 = network.layer2, network.layer3
    if non_local:
        layer2 = _with_non_local(layer2, channels=512, count=2)
        layer3 = _with_non_local(layer3, channels=1024, count=3)
    return DualStream(stem, nn.Sequential(network.layer1, layer2, layer3, network.layer4), embedding_dim=2048)


def _with_non_local(layer: nn.Sequential, *, channels: int, count: int) -> nn.Sequential:
    """The layer with a non-local block after each of its last `count` residual blocks."""
    blocks = list(layer)
    plain, last = blocks[:-count], blocks[-count:]
    return nn.Sequential(*plain, *(module for block in last for module in (block, NonLocal(channels))))


def build_model(
    backbone: str, *, pretrained: Mapping[str, Tensor] | None = None, non_local: bool = False
) -> DualStream:
    """Returns a dual-stream network, randomly initialised from torch's global generator unless `pretrained`.

    Args:
        backbone: `agw_resnet50` (Ye et al. 2021: ResNet-50, last stride 1; D = 2048) or `small` (0.3 M
            parameters, D = 128, for CPU runs at 64x32).
        pretrained: weights of torchvision's ResNet-50 to start from (`ecul.models.imagenet`); `agw_resnet50` only.
        non_local: add non-local blocks to layer2 and layer3; `agw_resnet50` only.

    Raises:
        ValueError: an unknown backbone, or an option that the small one does not have.
    """
    if backbone == "agw_resnet50":
        return _agw_resnet50(pretrained=pretrained, non_local=non_local)
    if backbone == "small" and pretrained is None and not non_local:
        return _small()
    if backbone == "small":
        raise ValueError("the small backbone has neither ImageNet weights nor non-local blocks; use agw_resnet50")
    raise ValueError(f"unknown backbone {backbone!r}; expected one of {', '.join(get_args(Backbone))}")


def freeze_batch_norm(model: nn.Module) -> None:
    """Makes every batch normalisation use its running statistics from now on; call again after `model.train()`."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
