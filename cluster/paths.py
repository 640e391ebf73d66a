"""Paths of a configuration, for processes that have another working directory."""

from cluster.storage import resolve_storage
from ecul.config import Config
from ecul.settings import updated

SHIPPED_WEIGHTS = ("imagenet", "synthetic", "none")
"""Values of `model.weights` that are no files."""


def with_absolute_paths(config: Config) -> Config:
    """Returns the configuration with its relative paths resolved against this process's working directory."""
    paths = {"data.root": config.data.root, "warm_start": config.warm_start}
    if config.model.weights not in SHIPPED_WEIGHTS:
        paths["model.weights"] = config.model.weights
    return updated(config, {name: resolve_storage(path) for name, path in paths.items() if path is not None})
