"""Weights as safetensors files that say what network they are for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ecul.errors import CheckpointError
from ecul.files import replacing
from ecul.models.backbone import DualStream, build_model

SHIPPED = {"synthetic": Path(__file__).parent / "small_synthetic.safetensors"}


def save_weights(model: DualStream, path: Path, *, description: Mapping[str, Any]) -> None:
    """Writes the weights and a JSON description (at least `backbone`, `height`, `width`) to one file, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"ecul": json.dumps(dict(description))})


def read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the tensors and the description of a file that `save_weights` wrote.

    Raises:
        CheckpointError: the file is missing, truncated, or has no description of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file {path}; `ecul pretrain` or `ecul export` makes one")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file ({error}); make it again") from None
    if "ecul" not in metadata:
        raise CheckpointError(
            f"{path} has no ecul description; expected a file made by `ecul pretrain` or `ecul export`"
        )
    return tensors, json.loads(metadata["ecul"])


def load_into(model: DualStream, path: Path, *, backbone: str) -> None:
    """Fills the model from a weights file.

    Raises:
        CheckpointError: the file is for another backbone.
    """
    tensors, description = read_weights(path)
    if description["backbone"] != backbone:
        raise CheckpointError(f"{path} holds a {description['backbone']} network, expected {backbone}")
    model.load_state_dict(tensors)


def model_from_file(path: Path) -> tuple[DualStream, dict[str, Any]]:
    """Returns the network of a weights file, in evaluation mode, and the file's description."""
    tensors, description = read_weights(path)
    model = build_model(description["backbone"], non_local=description.get("non_local", False))
    model.load_state_dict(tensors)
    return model.eval(), description
