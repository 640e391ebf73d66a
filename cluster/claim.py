"""Who trains a run: a claim on its folder, taken before anything in it is changed, with a sign of life.

Claims are numbered files. To train, a command creates the file after the newest one, which only one process can do. It
may do so where the newest claim was given back, or where its holder is dead. A holder that was only cut off from the
storage, or stopped, notices the newer claim at its next sign of life and ends; until then two processes may train. On
storages that cannot create a file exclusively, see `_SETTLE_SECONDS`.
"""

import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from cluster.processes import job, machine, start_time
from cluster.storage import SETTINGS_FILE, RunFolder
from ecul.errors import ConfigError

log = logging.getLogger(__name__)
CLAIMS = "claims"
_CLAIM = re.compile(r"(\d{6})\.json")
BEAT_SECONDS = 10.0
"""Seconds between two signs of life."""
SILENCE_SECONDS = 45.0
"""A holder on another machine that gives no sign of life for so long counts as dead. It is watched that long, since the
clocks of two machines may differ."""
_LONG_AGO_SECONDS = 900.0
"""A sign of life older than this needs no watching: clocks do not differ that much."""
_SETTLE_SECONDS = 2.0
"""Time in which two claims can cross on a storage that cannot create a file exclusively."""


@dataclass(frozen=True)
class Holder:
    """Who claimed a run.

    Attributes:
        host: name of the machine.
        process: number of the process.
        started: when that process was started, see `cluster.processes.start_time`.
        machine: see `cluster.processes.machine`.
        job: of a scheduler, such as `Slurm job 12`; may be empty.
        since: Unix time of the claim.
    """

    host: str
    process: int
    started: str
    machine: str
    job: str
    since: float

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        own = os.getpid()
        return cls(socket.gethostname(), own, start_time(own) or "", machine(), job(), time.time())

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}" + (f" ({self.job})" if self.job else "")


class Claim:
    """This process's claim on a run; see `claimed`.

    Attributes:
        lost: why the run is another process's now, or an empty text.
    """

    def __init__(self, folder: RunFolder, number: int, content: bytes) -> None:
        """Starts to give signs of life.

        Args:
            folder: of the run.
            number: of the claim, which this process has created.
            content: of its file.
        """
        self.lost = ""
        self._folder = folder
        self._number = number
        self._content = content
        self._ended = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._run, name="claim", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Gives the run back. A claim on a run that never began leaves nothing."""
        self._ended.set()
        self._thread.join()
        if self.lost:
            return
        with suppress(Exception):  # a claim that could not be given back counts as a dead one soon
            if self._number == 1 and not self._folder.exists(SETTINGS_FILE):
                self._folder.remove(_beat_file(1), _file(1))
            else:
                self._write_beat(released=True)

    def _run(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        try:
            newest = _newest(self._folder)
            # a listing may be older than our own claim, which counts as lost only where another one is there
            if newest > self._number or self._folder.read(_file(self._number)) not in (None, self._content):
                self._stop(max(newest, self._number))
            else:
                self._write_beat()
        except Exception as error:  # whatever the storage's library raises while it is away; the next beat may pass
            log.warning("no sign of life written to %s: %s", self._folder.uri, error)

    def _write_beat(self, *, released: bool = False) -> None:
        self._folder.write(_beat_file(self._number), json.dumps({"time": time.time(), "released": released}).encode())

    def _stop(self, newest: int) -> None:
        """Ends this training as SIGTERM would: another process could not see that it lives, and trains the run now."""
        self._ended.set()
        self.lost = f"run {self._folder.uri} was taken over by {_holder(self._folder, newest)}, which trains it now"
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def claimed(folder: RunFolder) -> Iterator[Claim]:
    """Holds a run for this process while the block runs.

    Args:
        folder: of the run, which may be missing.

    Raises:
        ConfigError: another process holds the run; the text says which one.
    """
    newest = _newest(folder)
    if newest and _lives(folder, newest):
        raise ConfigError(_refusal(folder, newest))
    content = json.dumps(asdict(Holder.here())).encode()
    if not _create(folder, newest + 1, content):
        raise ConfigError(_refusal(folder, newest + 1))
    claim = Claim(folder, newest + 1, content)
    try:
        yield claim
    finally:
        claim.release()


def _file(number: int) -> str:
    return f"{CLAIMS}/{number:06d}.json"


def _beat_file(number: int) -> str:
    return f"{CLAIMS}/{number:06d}.beat"


def _newest(folder: RunFolder) -> int:
    """The number of the newest claim, 0 without one."""
    names = map(_CLAIM.fullmatch, folder.names(CLAIMS))
    return max((int(name[1]) for name in names if name is not None), default=0)


def _holder(folder: RunFolder, number: int) -> Holder | None:
    """Who made a claim; None where that was not written to its end."""
    try:
        return Holder(**(folder.read_json(_file(number)) or {}))
    except (ValueError, TypeError):
        return None


def _last_beat(folder: RunFolder, number: int) -> Mapping[str, Any]:
    try:
        return folder.read_json(_beat_file(number)) or {}
    except ValueError:  # being written, on a storage that cannot rename
        return {}


def _lives(folder: RunFolder, number: int) -> bool:
    """Whether the holder of a claim still trains."""
    beat, holder = _last_beat(folder, number), _holder(folder, number)
    if beat.get("released"):
        return False
    if holder is not None and holder.machine == machine():
        return start_time(holder.process) == holder.started
    if beat and time.time() - beat["time"] > _LONG_AGO_SECONDS:
        return False
    log.info("%s was trained by %s; waiting up to %g s for a sign of life", folder.uri, holder, SILENCE_SECONDS)
    deadline = time.monotonic() + SILENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, SILENCE_SECONDS / 10))
        if (now := _last_beat(folder, number)) not in ({}, beat):
            return not now["released"]
    return False


def _refusal(folder: RunFolder, number: int) -> str:
    beat, holder = _last_beat(folder, number), _holder(folder, number)
    ago = f"{max(0.0, time.time() - beat['time']):.0f} s ago" if beat else "none yet"
    since = f", since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(holder.since))}" if holder else ""
    return (
        f"run {folder.uri} is being trained by {holder or 'another process'}{since} (last sign of life: {ago}); "
        "stop that first, or choose another --name"
    )


def _create(folder: RunFolder, number: int, content: bytes) -> bool:
    """Creates a claim's file, and returns whether this process is the one that did."""
    name = _file(number)
    try:
        folder.create(name, content)
    except FileExistsError:
        return False
    except NotImplementedError:
        # The storage only replaces files. Of two processes that both saw no file, the last writer's stands.
        if folder.exists(name):
            return False
        folder.write(name, content)
        time.sleep(_SETTLE_SECONDS)
        return folder.read(name) == content
    return True
