"""Settings of what goes in: images and network."""

from typing import Literal, Self

from pydantic import Field, model_validator

from ecul.names import Backbone, LayoutName
from ecul.schema import Strict


class DataConfig(Strict):
    """Where the images are, how they are read, and how they are augmented."""

    root: str
    """Folder that holds the dataset's split files, as it came; nothing is copied or renamed (docs/datasets.md)."""
    layout: Literal["auto"] | LayoutName = "auto"
    """Folder layout of the dataset; `auto` recognises it by its split files."""
    trial: int = Field(1, ge=1, le=10)
    """RegDB: which of its ten splits to train and test on. Other layouts have one split."""
    height: int = Field(288, ge=16, le=1024)
    """Height that images are resized to, in pixels. The field's value is 288; memory and time grow with the area."""
    width: int = Field(144, ge=8, le=1024)
    """Width that images are resized to, in pixels. The field's value is 144."""
    cache_gib: float = Field(8.0, ge=0)
    """Decoded images (uint8) are kept in memory where all of them fit in this many GiB, once for all workers on a
    machine; else each is decoded at each use."""
    decode_threads: int = Field(2, ge=1, le=64)
    """Threads that decode images during training. More help where images are not kept in memory and cores are idle. At
    the start, those that are kept are decoded by at least as many threads as torch has (over Ray:
    `threads_per_worker`)."""
    hold_out_validation: bool = False
    """Keep the validation identities out of training, so that they can be scored (SYSU-MM01: its own 99; else a fixed
    fifth). Without it everything is trained on, as in published results."""
    crop_padding: int = Field(10, ge=0)
    """Pixels of zeros around an image before the random crop (augmentation). The public recipes use 10 at 288 x 144."""
    erasing_probability: float = Field(0.5, ge=0, le=1)
    """Share of training images with a random box erased (augmentation). The public recipes use 0.5."""
    channel_exchange: bool = True
    """The second view of a visible image shows one of its channels three times, which brings it closer to infrared
    (docs/method.md, "An epoch, step by step"). False: two plain views."""


class ModelConfig(Strict):
    """The network."""

    backbone: Backbone = "agw_resnet50"
    """`agw_resnet50` (ResNet-50 of AGW, embeddings of 2048, for GPUs) or `small` (0.3 M parameters, embeddings of 128,
    for CPUs at 64 x 32)."""
    weights: str = "imagenet"
    """Starting weights: `imagenet` (agw_resnet50; torchvision's file, downloaded once), `synthetic` (shipped, small),
    `none`, a copy of torchvision's file (`resnet50-0676ba61.pth`, for machines without internet), or a safetensors
    file of `ecul pretrain` or `ecul export`."""
    non_local: bool = False
    """agw_resnet50: add AGW's non-local blocks. More memory and time; the public unsupervised codes leave them out."""
    batch_norm: Literal["auto", "local", "sync", "frozen"] = "auto"
    """Batch statistics per process (`local`), over all processes (`sync`, GPUs only), or none (`frozen`); `auto` =
    `sync` on several GPUs, else `local`. `local` saves an exchange in each layer, but several workers then compute
    something else than one."""

    @model_validator(mode="after")
    def _weights_exist_for_backbone(self) -> Self:
        wanted = {"imagenet": "agw_resnet50", "synthetic": "small"}.get(self.weights, self.backbone)
        if wanted != self.backbone:
            raise ValueError(f"weights {self.weights!r} are for backbone {wanted}, got {self.backbone}")
        if self.non_local and self.backbone == "small":
            raise ValueError("non_local is for backbone agw_resnet50")
        return self
