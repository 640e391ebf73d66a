"""Configurations of runs: from YAML files and `path=value` overrides, and back to plain data."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ecul.config import Config
from ecul.errors import ConfigError
from ecul.parameters import ClusteringParameters
from ecul.schema import apply_overrides, check, load_yaml, merge

RESUMABLE = ("runtime", "evaluation", "stages")
"""Parts of the configuration that may change when a run is resumed: they leave the epochs before as they are."""


def load_config(path: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """Returns the checked configuration of a YAML file with overrides applied.

    Args:
        path: of the file.
        overrides: `path=value` texts, or {dotted path: value}.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    tree = load_yaml(path, what="config", keys="data, model, stages", shipped="configs/")
    changed = merge(tree, overrides) if isinstance(overrides, Mapping) else apply_overrides(tree, overrides)
    return parse_config(changed)


def parse_config(tree: Mapping[str, Any]) -> Config:
    """Returns the checked configuration of a nested mapping.

    Raises:
        ConfigError: a key is unknown or a value is out of range; the text names each.
    """
    return check(Config, tree)


def updated(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns the configuration with {dotted path: value} applied.

    Raises:
        ConfigError: an unknown path or a value out of range.
    """
    return parse_config(merge(config_tree(config), changes))


def resumed_config(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
    """Returns a stopped run's configuration with {dotted path: value} applied.

    Raises:
        ConfigError: a change would make the epochs before untrue (only `RESUMABLE` parts may change).
    """
    fixed = [path for path in changes if path.split(".")[0] not in RESUMABLE]
    if fixed:
        raise ConfigError(f"a resumed run keeps {', '.join(fixed)}; only {', '.join(RESUMABLE)} may change")
    return parse_config(merge(tree, changes))


def clustering_parameters(preset: str, overrides: Mapping[str, Any]) -> ClusteringParameters:
    """Returns a preset's numbers with some replaced.

    Raises:
        ConfigError: an unknown preset or parameter, or a value out of range.
    """
    return check(ClusteringParameters, {"preset": preset, **overrides})


def config_tree(config: Config) -> dict[str, Any]:
    """Returns the configuration as plain data that `parse_config` reads back; unused parameters are left out."""
    return config.model_dump(mode="json", exclude_none=True)
