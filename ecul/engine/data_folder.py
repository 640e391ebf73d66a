"""Whether the configured dataset is there. Without torch, so that a command can ask before it starts anything."""

from pathlib import Path

from ecul.config import Config
from ecul.errors import DataError

_DRAWN_BY = {"demo/data": "make demo", "demo/smoke-data": "make smoke"}
"""Folders of the shipped configurations that the Makefile fills."""


def check_data_folder(config: Config, *, option: str = "--set data.root=FOLDER") -> None:
    """Checks that the configured dataset's folder exists.

    Args:
        config: all settings.
        option: how a user gives another folder, for the error.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(config.data.root)
    if root.is_dir():
        return
    drawn = [command for folder, command in _DRAWN_BY.items() if root.absolute() == Path(folder).absolute()]
    also = f", or draw the people of this one with `{drawn[0]}`" if drawn else ""
    what = f"{root} is a file, and no dataset folder" if root.exists() else f"no dataset folder {root}"
    raise DataError(f"{what}; say where it is with {option}{also}")
