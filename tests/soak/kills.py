"""What is killed, and when: a plan drawn from a seed, and the kills themselves."""

import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.soak.jobs import Job
from tests.soak.leftovers import raylet_children

KINDS = (
    ("training", "worker"),
    ("sweep", "journal's writer"),
    ("training", "clustering"),
    ("training", "driver"),
    ("training", "node"),
    ("sweep", "worker"),
    ("sweep", "trial"),
    ("training", "controller"),
    ("sweep", "driver"),
    ("sweep", "node"),
    ("sweep", "clustering"),
)
"""The job that a kill waits for, and what it hits."""
_ACTORS = {"worker": "RayTrainWorker", "trial": "FullTrial|Trainable|_Inner", "controller": "TrainController"}
_LATEST_S = 8.0
_AWAY_S = 15.0


@dataclass
class Kill:
    """One kill.

    Attributes:
        job: `training` or `sweep`.
        kind: what is killed.
        at: share of the job's epochs that must be recorded before it.
        delay_s: seconds after that.
        when: seconds since 1970, once it has happened.
        epoch: the training's last recorded epoch then.
        known: the newest epoch whose checkpoint Ray Train then had on its list.
        back_s: seconds until the job had recorded another epoch.
        starts: how often the job's command had been started then.
        repeated: epochs that the training's next start recorded anew.
        note: what was hit.
    """

    job: str
    kind: str
    at: float
    delay_s: float
    when: float = 0.0
    epoch: float = 0.0
    known: float = 0.0
    back_s: float | None = None
    starts: int = 0
    repeated: float = 0.0
    note: str = ""


def plan(count: int, seed: int) -> list[Kill]:
    """Kills of all kinds in turn, at random places."""
    numbers = random.Random(seed)
    order = numbers.sample(KINDS, len(KINDS))
    drawn = [
        Kill(*order[index % len(order)], at=numbers.uniform(0.02, 0.95), delay_s=numbers.uniform(0, _LATEST_S))
        for index in range(count)
    ]
    return sorted(drawn, key=lambda kill: kill.at)


@dataclass
class Killer:
    """Kills processes and nodes of a simulated cluster; nodes come back by themselves after a while.

    Attributes:
        cluster: Ray's simulated cluster; this process must have joined its head.
        node_options: of a node that comes back.
        numbers: draws victims.
    """

    cluster: Any
    node_options: dict[str, Any]
    numbers: random.Random
    _return_at: list[float] = field(default_factory=list)
    _armed: bool = False

    def bring_back(self, *, all_now: bool = False) -> None:
        """Adds nodes again that have been away for long enough."""
        due = [when for when in self._return_at if all_now or time.monotonic() >= when]
        self._return_at = [when for when in self._return_at if when not in due]
        for _ in due:
            self.cluster.add_node(**self.node_options)

    def hit(self, kill: Kill, job: Job, trigger: Path) -> bool:
        """Kills once; returns False where there is nothing to kill yet."""
        actions: dict[str, Callable[[], str]] = {
            "driver": lambda: self._driver(job),
            "journal's writer": lambda: self._journal(trigger),
            "node": self._node,
            "clustering": self._clustering,
        }
        kill.note = actions.get(kill.kind, lambda: self._actor(kill.kind, job))()
        return bool(kill.note)

    def _driver(self, job: Job) -> str:
        if not job.runs():
            return ""
        job.kill()
        return "driver"

    def _journal(self, trigger: Path) -> str:
        """The sweep's own process is told to die at its next write, which may come in seconds."""
        if not self._armed:
            trigger.touch()
            self._armed = True
        if trigger.exists():
            return ""
        self._armed = False
        return "driver, in the middle of a line of the journal"

    def _node(self) -> str:
        if self._return_at:
            return ""  # one node at a time
        nodes = sorted(self.cluster.worker_nodes, key=lambda node: node.node_id)
        self.cluster.remove_node(self.numbers.choice(nodes), allow_graceful=False)
        self._return_at.append(time.monotonic() + self.numbers.uniform(1, _AWAY_S))
        return "node"

    def _clustering(self) -> str:
        raylets = [node.all_processes["raylet"][0].process.pid for node in self.cluster.list_all_nodes()]
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for pid, line in raylet_children(raylets).items():
                if line.startswith("ray::clustering"):
                    os.kill(pid, signal.SIGKILL)
                    return line
            time.sleep(0.002)
        return ""

    def _actor(self, kind: str, job: Job) -> str:
        from ray.util.state import list_actors, list_jobs

        # a job of Ray is known by its driver's process
        own = {entry.job_id for entry in list_jobs(detail=True) if job.runs() and _driver_pid(entry) == job.pid}
        alive = list_actors(filters=[("state", "=", "ALIVE")], detail=True, limit=1000)
        victims = [actor for actor in alive if actor.job_id in own and re.search(_ACTORS[kind], actor.class_name)]
        if not victims:
            return ""
        victim = self.numbers.choice(sorted(victims, key=lambda actor: actor.pid))
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            return ""  # it has ended meanwhile
        return f"{victim.class_name}"


def _driver_pid(entry: Any) -> int:
    return int(entry.driver_info.pid) if entry.driver_info else 0
