"""What a run is started with, kept in its folder so that it can be resumed."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.config import ClusterConfig, parse_cluster_config
from cluster.storage import SETTINGS_FILE, RunFolder
from cluster.tracking.interface import TrackerSettings
from ecul.config import Config
from ecul.errors import CheckpointError
from ecul.settings import RESUMABLE, config_tree, parse_config, resumed_config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """All settings of a run.

    Attributes:
        config: of the training.
        cluster: how it is laid over the cluster.
        tracker: experiment tracker.
    """

    config: Config
    cluster: ClusterConfig
    tracker: TrackerSettings

    def write(self, folder: RunFolder) -> None:
        """Writes the settings into the run's folder. From then on there is a run."""
        tree = {
            "config": config_tree(self.config),
            "cluster": self.cluster.model_dump(mode="json"),
            "tracker": self.tracker.model_dump(mode="json"),
        }
        folder.write(SETTINGS_FILE, (json.dumps(tree, indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: RunFolder, changes: Mapping[str, Any]) -> "RunSettings":
        """Returns the settings that a run was started with.

        Args:
            folder: of the run.
            changes: {dotted path: value} to replace in the training's configuration.

        Raises:
            CheckpointError: there is no such run.
            ConfigError: a change would make the epochs before untrue.
        """
        tree = folder.read_json(SETTINGS_FILE)
        if tree is None:
            raise CheckpointError(f"{folder.uri} holds no run to resume ({SETTINGS_FILE} is missing); check --storage")
        return cls(
            config=resumed_config(tree["config"], changes),
            cluster=parse_cluster_config(tree["cluster"]),
            tracker=TrackerSettings.model_validate(tree.get("tracker", {})),  # runs of earlier versions have none
        )


def continued_config(kept: Config, wanted: Config) -> Config:
    """Returns the configuration of a run that a command starts or continues, whichever it finds.

    Args:
        kept: what the run was started with.
        wanted: what the command says now. What a resumed run may change is taken from it; the rest is only compared,
            and a difference is logged.
    """
    before, now = config_tree(kept), config_tree(wanted)
    ignored = sorted(name for name in {*before, *now} - {*RESUMABLE} if before.get(name) != now.get(name))
    if ignored:
        log.warning("the run keeps the settings it was started with; changes of %s are ignored", ", ".join(ignored))
    return parse_config({**before, **{name: now[name] for name in RESUMABLE if name in now}})
