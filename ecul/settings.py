"""Configurations from YAML files and `path=value` overrides, with errors of one line."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ecul.config import ClusteringConfig, Config, config_fields
from ecul.errors import ConfigError
from ecul.types import ClusteringParameters


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Returns the checked configuration of a YAML file with `path=value` overrides applied.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is out of range.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read config {path}: {error.strerror}; shipped ones are in configs/") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path} holds {type(tree).__name__}, expected keys such as data, model, stages")
    return parse_config(apply_overrides(tree, overrides))


def parse_config(tree: Mapping[str, Any]) -> Config:
    """Returns the checked configuration of a nested mapping.

    Raises:
        ConfigError: a key is unknown or a value is out of range; the text names each.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None


def clustering_parameters(preset: str, overrides: Mapping[str, Any]) -> ClusteringParameters:
    """Returns a preset's numbers with some replaced.

    Raises:
        ConfigError: an unknown preset or parameter, or a value out of range.
    """
    try:
        return ClusteringConfig.model_validate({"preset": preset, **overrides}).parameters()
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from None


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Returns {path: value} of `path=value` texts; values are YAML, so numbers, booleans and null work.

    Raises:
        ConfigError: a text without `=`.
    """
    pairs: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {text!r} is not path=value, such as clustering.k3=12")
        try:
            pairs[path.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"--set {text!r}: the value is not YAML; quote it") from None
    return pairs


def apply_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Returns a copy of a nested mapping with `path=value` texts applied."""
    return merge(tree, parse_assignments(overrides))


def merge(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a nested mapping with {dotted path: value} applied."""
    result = _copy(tree)
    for path, value in values.items():
        *parents, last = path.split(".")
        node = result
        for name in parents:
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{path}: {name} holds a value, not keys{_suggestion(path)}")
        node[last] = value
    return result


def config_tree(config: Config) -> dict[str, Any]:
    """Returns the configuration as plain data that `parse_config` reads back; unused parameters are left out."""
    return config.model_dump(mode="json", exclude_none=True)


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _suggestion(path: str) -> str:
    near = difflib.get_close_matches(path, config_fields(), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _one_line(error: ValidationError) -> str:
    lines: list[str] = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {path}{_suggestion(path)}")
        elif item["type"] == "missing":
            lines.append(f"{path} is missing")
        else:
            got = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
            where = f"{path}: " if path else ""
            lines.append(f"{where}{item['msg'].removeprefix('Value error, ')}{got}")
    return "; ".join(lines)
