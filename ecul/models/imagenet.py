"""ResNet-50's ImageNet weights: torchvision's file, where torch keeps it or where the user put it."""

import pickle
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import torch
from torch import Tensor

from ecul.errors import CheckpointError

TORCHVISION_SUFFIXES = (".pth", ".pt")
_TIMEOUT_S = 10
_UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError)


def imagenet_weights() -> Mapping[str, Tensor]:
    """Returns torchvision's ImageNet weights (version 1) of ResNet-50; the file is downloaded if it is not there.

    Raises:
        CheckpointError: it is neither there nor to be downloaded, as on cluster nodes without internet, or is damaged.
    """
    from torchvision.models import ResNet50_Weights

    url = ResNet50_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.is_file():
        _download(url, path)
    return resnet50_weights(path)


def resnet50_weights(path: Path) -> Mapping[str, Tensor]:
    """Returns the weights in a file of torchvision's ResNet-50.

    Raises:
        CheckpointError: the file is missing, damaged or of another network.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"no weights file {path}") from None
    except _UNREADABLE:
        raise CheckpointError(f"{path} is truncated or no weights of torchvision; copy it again") from None
    if not isinstance(tensors, dict) or {name: getattr(value, "shape", None) for name, value in tensors.items()} != (
        _shapes()
    ):
        raise CheckpointError(
            f"{path} holds no ResNet-50 of torchvision; expected a file such as resnet50-0676ba61.pth"
        )
    return tensors


def _shapes() -> Mapping[str, torch.Size]:
    """Of every tensor of torchvision's ResNet-50; wider and deeper ones have the same names, and more."""
    from torchvision.models import resnet50

    with torch.device("meta"):
        return {name: value.shape for name, value in resnet50().state_dict().items()}


def _download(url: str, path: Path) -> None:
    hint = f"copy {path.name} to {path.parent}, or give its place by model.weights=FILE"
    try:
        # torch waits without a limit for a host that does not answer, so that is tried first
        with urlopen(Request(url, method="HEAD"), timeout=_TIMEOUT_S):
            pass
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
    except (OSError, HTTPException, RuntimeError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise CheckpointError(f"the ImageNet weights {path} are missing and {url} fails ({reason}); {hint}") from None
