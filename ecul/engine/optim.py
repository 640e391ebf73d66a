"""Optimizer and learning rate."""

import torch
from torch import nn

from ecul.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Returns Adam over the trainable parameters, fused on CUDA."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = all(parameter.is_cuda for parameter in parameters)
    return torch.optim.Adam(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused)


def learning_rate(config: OptimConfig, stage_epoch: int) -> float:
    """Learning rate of the n-th epoch of a stage, counted from 1: linear warm-up, then step decay."""
    warmup = min(stage_epoch / (config.warmup_epochs + 1), 1.0)
    return config.learning_rate * warmup * config.decay_factor ** ((stage_epoch - 1) // config.decay_epochs)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Gives every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value
