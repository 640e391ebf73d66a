"""The files that a job would upload as its working directory, measured before anything is sent."""

import logging
from pathlib import Path

from ecul.errors import ConfigError

_MIB = 2**20
_SHOWN = 8
EXCLUDES = (".git", ".venv", "venv", "runs", "wandb", "demo", "__pycache__", "*.pt", "*.partial")


def upload_files(folder: Path, excludes: tuple[str, ...] = EXCLUDES) -> dict[str, int]:
    """Returns the size in bytes of each file that Ray would upload, by its path in the folder.

    Args:
        folder: the working directory.
        excludes: patterns as in .gitignore, besides the folder's own .gitignore and .rayignore.
    """
    # Ray's own function, so that the files measured are the files sent; it has no public name.
    from ray._private.runtime_env.packaging import _dir_travel, _get_excludes

    quiet = logging.getLogger(f"{__name__}.walk")
    quiet.setLevel(logging.WARNING)
    sizes: dict[str, int] = {}

    def measure(path: Path) -> None:
        if path.is_file():
            sizes[str(path.relative_to(folder))] = path.stat().st_size

    _dir_travel(folder, [_get_excludes(folder, list(excludes))], measure, include_gitignore=True, logger=quiet)
    return sizes


def check_upload(folder: Path, *, limit_mib: float) -> int:
    """Returns the size of the upload in bytes.

    Raises:
        ConfigError: there is no such folder, or it holds more than `limit_mib`; the text names the largest files.
    """
    if not folder.is_dir():
        raise ConfigError(f"--working-dir {folder} is no folder")
    sizes = upload_files(folder)
    total = sum(sizes.values())
    if total > limit_mib * _MIB:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:_SHOWN]
        named = ", ".join(f"{name} ({sizes[name] / _MIB:.1f} MiB)" for name in largest)
        raise ConfigError(
            f"{folder} would upload {total / _MIB:.0f} MiB, more than --limit-mib {limit_mib:g}; the largest: {named}. "
            "Name them in .rayignore; data and weights belong on storage that the nodes share"
        )
    return total
