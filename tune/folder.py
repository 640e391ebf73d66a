"""The folder of a sweep: `sweep.yaml`, `base.yaml`, the study, `trials/`, `report/`, and a lock."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecul.errors import ConfigError
from tune.config import SweepConfig, load_sweep

STORAGE = "runs/tune"
"""Folder of all sweeps, where none is given."""
SWEEP_FILE = "sweep.yaml"
"""What was searched, as `tune.config` reads it."""
BASE_FILE = "base.yaml"
"""The configuration that the sweep is for, with the sweep's own changes (`set`) in it."""


def read_sweep(folder: Path) -> SweepConfig:
    """Returns the configuration of a sweep that was started.

    Raises:
        ConfigError: there is no such sweep.
    """
    if not (folder / SWEEP_FILE).is_file():
        raise ConfigError(f"no sweep {folder} ({SWEEP_FILE} is missing); check the name and --storage")
    return load_sweep(folder / SWEEP_FILE)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a sweep's folder; the operating system releases it when the process ends, however it ends.

    Raises:
        ConfigError: another process works on the sweep.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"sweep {folder} is being run by another process") from None
        yield
