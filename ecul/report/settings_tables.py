"""Settings of runs as tables: what differs first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ecul.config import Config
from ecul.report.blocks import Block, Cell, Folded, Part, Table, Text
from ecul.report.runs import Run, flat
from ecul.schema import check
from ecul.settings import config_tree

_FACTS = ("version", "git_commit", "python", "device", "world_size", "dataset", "data_digest")


def settings_part(runs: Sequence[Run]) -> Part:
    """Returns the settings: what differs between the runs, or of one run from the defaults; then all of them."""
    names = [run.name for run in runs]
    blocks: list[Block] = []
    if len(runs) > 1:
        differing = differences([run.settings for run in runs])
        if differing:
            rows = [[path, *(value_text(run.settings.get(path)) for run in runs)] for path in differing]
            blocks.append(Table("Settings that differ between the runs", ["setting", *names], rows, wrap=True))
        else:
            blocks.append(Text("All runs have the same settings."))
    else:
        (run,) = runs
        changed = changed_settings(run.settings)
        rows = [[path, value_text(run.settings.get(path)), value_text(default)] for path, default in changed.items()]
        table = Table("Settings that are not the defaults", ["setting", "value", "default"], rows, wrap=True)
        blocks.append(Folded(f"{len(rows)} settings that are not the defaults", [table]))
    paths = list(dict.fromkeys(path for run in runs for path in run.settings))
    rows = [[path, *(value_text(run.settings.get(path)) for run in runs)] for path in paths]
    facts = [[name, *(value_text(run.facts.get(name)) for run in runs)] for name in _FACTS]
    libraries = list(dict.fromkeys(name for run in runs for name in run.facts.get("libraries") or {}))
    facts += [[name, *((run.facts.get("libraries") or {}).get(name) for run in runs)] for name in libraries]
    blocks.append(
        Folded(
            "All settings, versions and data",
            [
                Table("All settings", ["setting", *names], rows, wrap=True),
                Table("Versions and data", ["fact", *names], facts, wrap=True),
            ],
        )
    )
    return Part("Settings", blocks)


def differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the paths whose values are not the same in all of them, in the order of the first."""
    paths = dict.fromkeys(path for each in settings for path in each)
    return [path for path in paths if len({value_text(each.get(path)) for each in settings}) > 1]


def changed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {path: default} of the settings that are not the defaults."""
    defaults = flat(config_tree(check(Config, {"data": {"root": ""}})))
    return {
        path: defaults.get(path)
        for path, value in settings.items()
        if value_text(value) != value_text(defaults.get(path))
    }


def value_text(value: Any) -> Cell:
    """Returns a setting as it would be written in a file; nothing for None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str)
