"""Paths of a configuration, for processes that have another working directory."""

from pathlib import Path

from cluster.storage import resolve_storage
from ecul.config import Config
from ecul.errors import ConfigError
from ecul.settings import updated

SHIPPED_WEIGHTS = ("imagenet", "synthetic", "none")
"""Values of `model.weights` that are no files."""
_PACKAGE_CACHE = "working_dir_files"
"""Folder of a Ray session that holds the working directories of jobs."""


def check_storage_stays(storage: str) -> None:
    """Checks that a storage is not inside a job's working directory, which Ray removes with its session.

    Args:
        storage: folder or URI.

    Raises:
        ConfigError: it is.
    """
    resolved = resolve_storage(storage)
    if "://" not in resolved and _PACKAGE_CACHE in Path(resolved).parts:
        raise ConfigError(
            f"--storage {storage} lies in the job's working directory, a copy that Ray removes later; give the "
            "absolute path of a folder that all nodes share"
        )


def with_absolute_paths(config: Config) -> Config:
    """Returns the configuration with its relative paths resolved against this process's working directory."""
    paths = {"data.root": config.data.root, "warm_start": config.warm_start}
    if config.model.weights not in SHIPPED_WEIGHTS:
        paths["model.weights"] = config.model.weights
    return updated(config, {name: resolve_storage(path) for name, path in paths.items() if path is not None})
