"""The configurations of a sweep: the original, the one that trials change, and a trial's own."""

from collections.abc import Iterable, Mapping
from typing import Any

from ecul.config import Config
from ecul.errors import ConfigError
from ecul.parameters import PRESET_DEFAULTS
from ecul.schema import merge
from ecul.settings import config_tree, load_config, parse_config, updated
from tune.config import SweepConfig
from tune.roles import INTRA, UNITED

_PRESET_PARAMETERS = sorted({name for defaults in PRESET_DEFAULTS.values() for name in defaults})
_RANGES = ("k1", "k2", "k3")
_MOVE_VALUES = ("first", "turn", "last")


def original_config(sweep: SweepConfig) -> Config:
    """Returns the configuration that the sweep is for, as its file and `set` have it.

    Raises:
        ConfigError: it cannot be used, or it has an oracle.
    """
    config = load_config(sweep.base, sweep.set)
    if config.oracle is not None:
        raise ConfigError(
            f"base {sweep.base} trains on true labels (oracle={config.oracle}); no sweep may choose by it"
        )
    return config


def base_config(original: Config, *, warm_start: str | None) -> Config:
    """Returns the configuration that trials change; it always validates on held-out training identities.

    Args:
        original: as the user wrote it.
        warm_start: run or checkpoint that trials begin from; None keeps the original's.

    Raises:
        ConfigError: it cannot be used.
    """
    changes: dict[str, Any] = {"data.hold_out_validation": True, "evaluation.split": "validation"}
    changes["runtime.report"] = False  # the sweep has one of its own
    if warm_start is not None:
        changes["warm_start"] = warm_start
    return updated(original, changes)


def trial_config(base: Config, values: Mapping[str, Any]) -> Config:
    """Returns the base with a trial's {path: value}; a changed clustering preset or reading brings its own defaults.

    Raises:
        ConfigError: the values do not make a valid configuration.
    """
    tree = merge(config_tree(base), {})
    for section in (UNITED, INTRA):
        clustering = value_at(tree, section)
        changed = [name for name in ("preset", "reading") if _changes(values, section, clustering, name)]
        if changed:
            # the base's k1, k2, ... are of its own preset or reading; another preset may not even know them
            for name in _PRESET_PARAMETERS if "preset" in changed else _RANGES:
                clustering.pop(name, None)
            _drop(clustering.get("schedule", {}), _RANGES)
    return parse_config(merge(tree, values))


def _changes(values: Mapping[str, Any], section: str, clustering: Mapping[str, Any], name: str) -> bool:
    return values.get(f"{section}.{name}", clustering.get(name)) != clustering.get(name)


def _drop(schedule: dict[str, Any], names: Iterable[str]) -> None:
    """Takes the values of moves out of a schedule, or of a schedule for each stage; how long they take stays."""
    for name, inner in schedule.items():
        if name in names:
            for value in _MOVE_VALUES:
                inner.pop(value, None)
        elif isinstance(inner, dict):
            _drop(inner, names)


def value_at(tree: Mapping[str, Any], path: str) -> Any:
    """Returns the value at a dotted path of a nested mapping, or None where there is none."""
    node: Any = tree
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
