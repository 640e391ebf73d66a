"""What a reader needs to repeat a run, beside its configuration."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ecul import __version__, runtime
from ecul.config import Config
from ecul.data.dataset import ReidDataset, digest


def provenance(config: Config, dataset: ReidDataset, device: torch.device) -> Mapping[str, Any]:
    """Returns versions, commit, device, data and seed by name."""
    names = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "numba", "faiss-gpu", "pydantic")
    return {
        "version": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "libraries": {name: version for name in names if (version := _version(name))},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "world_size": runtime.world_size(),
        "dataset": dataset.name,
        "data_digest": digest(dataset),
        "num_training_images": len(dataset.train),
        "num_test_images": len(dataset.test),
        "seed": config.seed,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of this source tree, with `-dirty` if it has changes; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
