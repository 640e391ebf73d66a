"""The settings of a run: every hyperparameter, its range, its meaning and its only default.

A run is a YAML file checked against `Config`, plus `--set path=value` overrides. Unknown keys are errors. The string
under each field documents it; docs/configuration.md is generated from these strings.
"""

from ecul.config.clustering import ClusteringConfig
from ecul.config.data import DataConfig, ModelConfig
from ecul.config.run import Config, EvaluationConfig, RuntimeConfig, moved_to
from ecul.config.training import (
    STAGE_NUMBERS,
    BankLossConfig,
    BatchConfig,
    LossConfig,
    MemoryConfig,
    OptimConfig,
    StagesConfig,
)

__all__ = [
    "STAGE_NUMBERS",
    "BankLossConfig",
    "BatchConfig",
    "ClusteringConfig",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "LossConfig",
    "MemoryConfig",
    "ModelConfig",
    "OptimConfig",
    "RuntimeConfig",
    "StagesConfig",
    "moved_to",
]
