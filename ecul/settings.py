"""Configurations of runs: from YAML files and `path=value` overrides, and back to plain data."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ecul.config import Config
from ecul.errors import ConfigError
from ecul.parameters import ClusteringParameters
from ecul.schedules import Move
from ecul.schema import check, load_yaml, merge, overlay, parse_assignments

ABLATIONS = ("configs", "ablation")
"""Where a file must lie that sets an oracle: a folder of this name in one of that name."""
RESUMABLE = ("runtime", "evaluation", "stages")
"""Parts of the configuration that may change when a run is resumed: they leave the epochs before as they are."""


def load_config(path: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Config:
    """Returns the checked configuration of a YAML file with overrides applied.

    A file may begin from another one: `base: FILE`, relative to its own folder, and then holds what differs.

    Args:
        path: of the file.
        overrides: `path=value` texts, or {dotted path: value}.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is out of range; or an oracle is set outside
            of configs/ablation.
    """
    changes = dict(overrides) if isinstance(overrides, Mapping) else parse_assignments(overrides)
    config = parse_config(merge(_with_base(Path(path)), changes))
    if config.oracle is not None:
        told = "oracle" in changes or Path(path).absolute().parent.parts[-2:] != ABLATIONS
        if told:
            raise ConfigError(
                f"config {path}: oracle={config.oracle} trains on true labels; only a file in {'/'.join(ABLATIONS)}/ "
                "may set it, and no option: leave it out"
            )
    return config


def _with_base(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tree of a file over that of its base, which may have a base itself."""
    if path.absolute() in above:
        raise ConfigError(f"config {path} is its own base, by way of {', '.join(map(str, above))}")
    tree = load_yaml(path, what="config", keys="data, model, stages", shipped="configs/")
    base = tree.pop("base", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise ConfigError(f"config {path}: base is {base!r}, expected the name of another configuration file")
    return overlay(_with_base((path.parent / base).resolve(), (*above, path.absolute())), tree)


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


def config_digest(config: Config) -> str:
    """Returns 12 hexadecimal digits that follow from the whole configuration."""
    text = json.dumps(config_tree(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def oracle_warning(config: Config) -> str | None:
    """Returns what every record of a run with an oracle says, or None for an ordinary run."""
    if config.oracle is None:
        return None
    return f"oracle={config.oracle}: trained on true labels; a bound, and no result of unsupervised training"


def config_tree(config: Config) -> dict[str, Any]:
    """Returns the configuration as plain data that `parse_config` reads back.

    Unused parameters are left out, and so are schedules that move nothing.
    """
    tree = config.model_dump(mode="json", exclude_none=True)
    for section in ("united", "intra"):
        schedule = _without(tree["clustering"][section].pop("schedule"), _IDLE)
        if schedule:
            tree["clustering"][section]["schedule"] = schedule
    return tree


_IDLE = {field.name: field.default for field in fields(Move) if field.default is not None}


def _without(tree: Mapping[str, Any], leaf: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping without the inner ones that equal `leaf`, or in which nothing else is left."""
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        inner = _without(value, leaf) if isinstance(value, Mapping) else value
        if inner not in ({}, leaf):
            kept[name] = inner
    return kept
