"""What a lost controller of Ray Train leaves on the cluster is found and given back.

Ray removes a placement group once both the process that made it and its job have ended, so one of a killed controller
keeps its CPUs and GPUs until the driver ends, and for ever where the driver ended just before it was made. Train has a
helper process for this, which learns of a group only after all of its workers have started, and which stays for ever
itself where the controller ends before it has asked it to begin. So the groups carry their run's name here, and the
helper begins by itself.
"""

import uuid
from typing import Any

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


class Cleaner(PlacementGroupCleaner):
    """Train's helper, which watches the controller from its own start on."""

    def __init__(self, **options: Any) -> None:
        """Takes what Train's takes."""
        super().__init__(**options)
        self.start_monitoring()


def prepare_controller(folder: RunFolder) -> None:
    """Names the placement groups that Train makes in this process, a controller, after its run; sets our helper.

    Args:
        folder: of the run.
    """

    def named(*args: Any, **options: Any) -> PlacementGroup:
        # each name is new, since a group that is being removed still has its own
        return placement_group(*args, **{**options, "name": f"{_prefix(folder)}{uuid.uuid4().hex[:8]}"})

    worker_group.placement_group = named  # pyright: ignore[reportPrivateImportUsage]
    placement_group_callback.PlacementGroupCleaner = Cleaner  # pyright: ignore[reportPrivateImportUsage]


def remove_groups(folder: RunFolder) -> int:
    """Removes the placement groups that earlier controllers of a run have left, and returns how many there were.

    Args:
        folder: of the run. No controller of it may be alive.
    """
    left = [
        key
        for key, group in placement_group_table().items()
        if group["name"].startswith(_prefix(folder)) and group["state"] != "REMOVED"
    ]
    for key in left:
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(key)))
    return len(left)


def _prefix(folder: RunFolder) -> str:
    return f"{folder.path} "
