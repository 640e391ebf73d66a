"""What changes during training, and how a checkpoint holds it.

A checkpoint needs no state of random generators but torch's own: all other randomness is a function of
(seed, epoch, step).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ecul import __version__
from ecul.config import Config
from ecul.errors import CheckpointError
from ecul.models.backbone import DualStream
from ecul.settings import config_tree, parse_config
from ecul.types import ClusteringResult

_FORMAT = 1
_REQUIRED = ("config", "epoch", "model", "optimizer", "random_state", "labels", "fallbacks")
_LABEL_ARRAYS = ("intra_label", "united_label", "selected_pairs")


@dataclass
class TrainState:
    """The mutable state of a run.

    Attributes:
        model: the network, without the wrappers of distributed training.
        optimizer: of the model's parameters.
        epoch: epochs finished.
        labels: the newest usable pseudo-labels, kept for the fallback.
        fallbacks: epochs that had to fall back.
        instances: the instance memory (N, D) after the last epoch, where it goes on into the next one; else None.
    """

    model: DualStream
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    labels: ClusteringResult | None = None
    fallbacks: int = 0
    instances: torch.Tensor | None = None

    def checkpoint(self, config: Config) -> dict[str, Any]:
        """Returns all that a resumed run needs, as tensors and plain values that `weights_only` loading accepts."""
        return {
            "format": _FORMAT,
            "version": __version__,
            "config": json.dumps(config_tree(config)),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random_state": torch.get_rng_state(),
            "labels": _pack_labels(self.labels),
            "fallbacks": self.fallbacks,
            "instances": None if self.instances is None else self.instances.cpu(),
        }

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Sets the state to that of a checkpoint.

        Raises:
            CheckpointError: it is of another network.
        """
        try:
            self.model.load_state_dict(checkpoint["model"])
            self.optimizer.load_state_dict(self._with_own_options(checkpoint["optimizer"]))
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint does not fit the configured network: {str(error)[:200]}") from None
        torch.set_rng_state(checkpoint["random_state"])
        self.epoch = checkpoint["epoch"]
        self.labels = _unpack_labels(checkpoint["labels"])
        self.fallbacks = checkpoint["fallbacks"]
        self.instances = checkpoint.get("instances")  # checkpoints of version 0.1 have none

    def _with_own_options(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """A saved optimizer's state under this optimizer's options (weight decay, betas, fused, ...).

        The options follow from the configuration and the device. Those of a warm start may be others.
        """
        groups = [
            {**own, "params": group["params"]}
            for own, group in zip(self.optimizer.param_groups, saved["param_groups"], strict=True)
        ]
        return {**saved, "param_groups": groups}


def check_checkpoint(checkpoint: object, source: object) -> dict[str, Any]:
    """Returns the checkpoint if it is one of ours.

    Raises:
        CheckpointError: it is something else, or of another format.
    """
    if not isinstance(checkpoint, dict) or any(key not in checkpoint for key in _REQUIRED):
        raise CheckpointError(f"{source} is not an ecul training checkpoint; give a run directory or its checkpoint")
    if checkpoint["format"] != _FORMAT:
        raise CheckpointError(f"{source} has checkpoint format {checkpoint['format']}, this version reads {_FORMAT}")
    return checkpoint


def checkpoint_config(checkpoint: Mapping[str, Any]) -> Config:
    """Returns the configuration saved inside a checkpoint."""
    return parse_config(json.loads(checkpoint["config"]))


def _pack_labels(labels: ClusteringResult | None) -> dict[str, Any] | None:
    if labels is None:
        return None
    packed: dict[str, Any] = {
        name: None if getattr(labels, name) is None else torch.from_numpy(np.array(getattr(labels, name)))
        for name in _LABEL_ARRAYS
    }
    counts = ("num_visible_clusters", "num_infrared_clusters", "num_united_clusters")
    return packed | {name: int(getattr(labels, name)) for name in counts}


def _unpack_labels(packed: Mapping[str, Any] | None) -> ClusteringResult | None:
    if packed is None:
        return None
    unpacked: dict[str, Any] = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in packed.items()}
    return ClusteringResult(**unpacked)
