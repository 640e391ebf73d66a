"""The runs of a repetition: every configuration with every combination of the values that it is repeated over."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.paths import with_absolute_paths
from ecul.config import Config
from ecul.errors import ConfigError
from ecul.schema import parse_assignments
from ecul.settings import config_tree, load_config, parse_config

_MOST_VALUES = 1000
_LONGEST_KEY = 80


@dataclass(frozen=True, kw_only=True)
class RepeatedRun:
    """One training of a repetition.

    Attributes:
        key: its name, and that of its folder.
        variant: name of its configuration file, without the suffix.
        values: {configuration path: value} of the repetition. Runs of two variants with equal values are a pair.
        config: all its settings.
    """

    key: str
    variant: str
    values: Mapping[str, Any]
    config: Config

    def tree(self) -> dict[str, Any]:
        """Returns the run as plain data."""
        values = dict(self.values)
        return {"key": self.key, "variant": self.variant, "values": values, "config": config_tree(self.config)}

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "RepeatedRun":
        """Returns the run that `tree` was made of."""
        return cls(
            key=tree["key"],
            variant=tree["variant"],
            values=tree["values"],
            config=parse_config(tree["config"]),
        )


def parse_over(text: str) -> tuple[str, tuple[Any, ...]]:
    """Returns a path and its values.

    Args:
        text: `PATH=1..10` for whole numbers with both ends, or `PATH=[a, b]`, or `PATH=a` for one value.

    Raises:
        ConfigError: it is something else, or names no value, or one twice.
    """
    ((path, value),) = parse_assignments([text]).items()
    span = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", value.strip()) if isinstance(value, str) else None
    if span is not None:
        low, high = map(int, span.groups())
        if not 0 <= high - low < _MOST_VALUES:
            raise ConfigError(f"--over {text}: expected LOW..HIGH in order, with at most {_MOST_VALUES} numbers")
        return path, tuple(range(low, high + 1))
    values = tuple(value) if isinstance(value, list) else (value,)
    if not values or len({json.dumps(item, sort_keys=True) for item in values}) < len(values):
        raise ConfigError(f"--over {text}: expected different values, such as seed=0..2 or seed=[0, 3]")
    return path, values


def make_runs(files: Sequence[Path], over: Mapping[str, Sequence[Any]], overrides: Sequence[str]) -> list[RepeatedRun]:
    """Returns all runs, values by values, so that stopped repetitions have whole pairs.

    Args:
        files: configurations; each name once.
        over: {configuration path: values}.
        overrides: `path=value` texts for all runs.

    Raises:
        ConfigError: a configuration or a value that cannot be used.
    """
    variants = {path.stem: path for path in files}
    if len(variants) < len(set(map(Path.absolute, files))):
        raise ConfigError("two configuration files have the same name; the table could not tell them apart")
    changes = parse_assignments(overrides)
    both = sorted(changes.keys() & over.keys())
    if both:
        raise ConfigError(f"{both[0]} is in --over and in --set; leave one of them out")
    combinations = [dict(zip(over, chosen, strict=True)) for chosen in itertools.product(*over.values())]
    runs: list[RepeatedRun] = []
    for values in combinations:
        for variant, path in variants.items():
            config = with_absolute_paths(load_config(path, {**changes, **values}))
            runs.append(
                RepeatedRun(key=_key(len(runs), variant, values), variant=variant, values=values, config=config)
            )
    return runs


def _key(number: int, variant: str, values: Mapping[str, Any]) -> str:
    parts = [f"{number:03d}", variant, *(f"{path.split('.')[-1]}{value}" for path, value in values.items())]
    return re.sub(r"[^\w.-]", "_", "-".join(parts), flags=re.ASCII)[:_LONGEST_KEY]
