"""What a lost controller of Ray Train leaves on the cluster is found and given back.

Ray removes a placement group once both the process that made it and its job have ended, so one of a killed controller
keeps its CPUs and GPUs until the driver ends, and for ever where the driver ended just before it was made. Train has a
helper process for this, which learns of a group only after all of its workers have started, and which stays for ever
itself where the controller ends before it has asked it to begin. So the groups carry the names of their run and
controller here, and the helper begins by itself and looks for them.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import ray
from ray._raylet import PlacementGroupID
from ray.train.v2._internal.callbacks import placement_group_callback
from ray.train.v2._internal.execution.controller.placement_group_cleaner import PlacementGroupCleaner
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from cluster.storage import RunFolder

log = logging.getLogger(__name__)
_DYING_SECONDS = 40.0
"""Ray calls an actor dead as soon as it is to end. Its process may go on, and ask for a new group, for the 30 s of
`actor_graceful_shutdown_timeout_ms`."""


class Cleaner(PlacementGroupCleaner):
    """Train's helper, which watches the controller from its own start on, and removes all groups of a dead one."""

    def __init__(self, **options: Any) -> None:
        """Takes what Train's takes."""
        # by itself it asks the newest cluster of the machine whether the controller lives, and that may be a stranger
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        super().__init__(**options)
        self.start_monitoring()

    def _cleanup_placement_group(self, placement_group: PlacementGroup | None) -> None:
        end = time.monotonic() + _DYING_SECONDS
        while True:
            try:
                _remove_groups(lambda name: f" {self._controller_actor_id} " in name)
            except Exception:  # the next round may succeed; without an end this process would stay for ever
                log.warning("the groups of controller %s were not removed", self._controller_actor_id, exc_info=True)
            if time.monotonic() >= end:
                return
            time.sleep(self._check_interval_s)


def prepare_controller(folder: RunFolder) -> None:
    """Names the placement groups that Train makes in this process, a controller, after its run and itself.

    Train will start our helper.

    Args:
        folder: of the run.
    """

    def named(*args: Any, **options: Any) -> PlacementGroup:
        controller = ray.get_runtime_context().get_actor_id()
        # each name is new, since a group that is being removed still has its own
        name = f"{_prefix(folder)}{controller} {uuid.uuid4().hex[:8]}"
        return placement_group(*args, **{**options, "name": name})

    worker_group.placement_group = named  # pyright: ignore[reportPrivateImportUsage]
    placement_group_callback.PlacementGroupCleaner = Cleaner  # pyright: ignore[reportPrivateImportUsage]


def remove_groups(folder: RunFolder) -> int:
    """Removes the placement groups that earlier controllers of a run have left, and returns how many there were.

    Args:
        folder: of the run. No controller of it may be alive.
    """
    return _remove_groups(lambda name: name.startswith(_prefix(folder)))


def _remove_groups(wanted: Callable[[str], bool]) -> int:
    left = [
        key for key, group in placement_group_table().items() if wanted(group["name"]) and group["state"] != "REMOVED"
    ]
    for key in left:
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(key)))
    return len(left)


def _prefix(folder: RunFolder) -> str:
    return f"{folder.path} "
