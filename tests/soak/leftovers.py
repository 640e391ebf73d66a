"""What a soak may leave behind: processes, temporary files, shared memory, sockets, and things in Ray."""

import ctypes
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)
_OF_LIBRARIES = re.compile(r".*wandb-(artifacts|media)|torchinductor_.*|wandb-\d+-.*|debug-cli\..*|pymp-.*")
"""Empty temporary folders of W&B, torch and Python's multiprocessing, which a killed process cannot remove."""
_OWN_ACTORS = ("TrainStateActor", "AutoscalingCoordinator", "JobSupervisor")
"""Actors that Ray keeps for the whole cluster."""


def adopt_orphans() -> None:
    """Makes processes whose parent was killed children of this one, so that `descendants` finds them."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def descendants() -> dict[int, str]:
    """Command lines of all living processes that this one has started, directly or not."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it has ended meanwhile
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    found: set[int] = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return {pid: command_line(pid) for pid in found - {os.getpid()}}


def command_line(pid: int) -> str:
    """What a process calls itself; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def raylet_children(raylets: list[int]) -> dict[int, str]:
    """Command lines of the processes that some nodes have started. Takes a millisecond."""
    found: dict[int, str] = {}
    for raylet in raylets:
        try:
            pids = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
        except OSError:
            continue
        found |= {int(pid): command_line(int(pid)) for pid in pids}
    return found


@dataclass(frozen=True)
class Traces:
    """Names of what is there at one time.

    Attributes:
        temporary: entries of the folder for temporary files, without those of libraries.
        shared_memory: entries of /dev/shm.
        sockets: bound unix sockets with a path in the folder for temporary files.
    """

    temporary: frozenset[str]
    shared_memory: frozenset[str]
    sockets: frozenset[str]

    @classmethod
    def now(cls, temporary: Path) -> "Traces":
        """Looks at a folder for temporary files, and at the machine."""
        lines = Path("/proc/net/unix").read_text().splitlines()
        return cls(
            temporary=frozenset(path.name for path in temporary.iterdir() if not _is_of_library(path)),
            shared_memory=frozenset(path.name for path in Path("/dev/shm").iterdir()),
            sockets=frozenset(line.split()[-1] for line in lines if str(temporary) in line),
        )

    def since(self, before: "Traces") -> dict[str, list[str]]:
        """What is new, by kind."""
        return {
            "temporary files": sorted(self.temporary - before.temporary),
            "shared memory": sorted(self.shared_memory - before.shared_memory),
            "sockets": sorted(self.sockets - before.sockets),
        }


def _is_of_library(path: Path) -> bool:
    return bool(_OF_LIBRARIES.fullmatch(path.name)) and not any(inner.is_file() for inner in path.rglob("*"))


def left_in_ray(seconds: float = 90) -> list[str]:
    """What trainings and trials have left on the joined cluster, after at most some seconds; best empty."""
    deadline = time.monotonic() + seconds
    while (found := _left_now()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _left_now() -> list[str]:
    import ray
    from ray.util.state import list_actors, list_placement_groups

    left = [("state", "!=", "REMOVED")]
    found = [
        f"placement group {group.name} ({group.state}, of job {group.creator_job_id})"
        for group in list_placement_groups(filters=left, detail=True)
    ]
    for actor in list_actors(filters=[("state", "!=", "DEAD")], detail=True):
        if not re.search("|".join(_OWN_ACTORS), actor.class_name):
            found.append(f"actor {actor.class_name} ({actor.state})")
    total, free = ray.cluster_resources(), ray.available_resources()
    found += [f"reserved {name}" for name in ("CPU", "GPU") if total.get(name, 0) != free.get(name, 0)]
    return found
