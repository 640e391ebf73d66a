"""The folder of a sweep: `sweep.yaml`, `base.yaml`, the study, `trials/`, `report/`, and a lock."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.names import checked_name
from cluster.paths import check_storage_stays
from ecul.errors import ConfigError
from tune.config import SweepConfig, load_sweep

STORAGE = "runs/tune"
"""Folder of all sweeps, where none is given."""
SWEEP_FILE = "sweep.yaml"
"""What was searched, as `tune.config` reads it."""
BASE_FILE = "base.yaml"
"""The configuration that the sweep is for, with the sweep's own changes (`set`) in it."""


def sweep_folder(storage: str, name: str, *, option: str = "the sweep's name") -> Path:
    """Returns the absolute path of a sweep's folder, which need not exist.

    Args:
        storage: folder of all sweeps.
        name: of the sweep.
        option: where the name was given, for the text of the error.

    Raises:
        ConfigError: the storage is no folder, or one that Ray removes; or the name is none.
    """
    if "://" in storage:
        raise ConfigError(
            f"--storage {storage}: the record of a sweep needs a file system; give a folder, on a cluster one that all "
            "nodes share (such as NFS or FSx)"
        )
    check_storage_stays(storage)
    return Path(storage).expanduser().absolute() / checked_name(name, option=option)


def read_sweep(folder: Path, changes: Mapping[str, Any] | None = None) -> SweepConfig:
    """Returns the configuration of a sweep that was started, which may have been moved or renamed since.

    Args:
        folder: of the sweep.
        changes: {dotted path: value} to replace.

    Raises:
        ConfigError: there is no such sweep, or a change is none that a sweep can have.
    """
    if not (folder / SWEEP_FILE).is_file():
        raise ConfigError(f"no sweep {folder} ({SWEEP_FILE} is missing); check the name and --storage")
    return load_sweep(folder / SWEEP_FILE, {**(changes or {}), "base": str(folder / BASE_FILE)})
