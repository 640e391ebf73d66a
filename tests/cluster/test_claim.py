"""Real processes claim runs, and are killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cluster import claim
from cluster.claim import CLAIMS, Holder, claimed
from cluster.storage import SETTINGS_FILE, RunFolder
from ecul.errors import ConfigError

_HOLD = """
import signal, sys, time
from cluster import claim
from cluster.storage import RunFolder
claim.BEAT_SECONDS = 0.1
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[2]:
    claim.machine = lambda: sys.argv[2]
with claim.claimed(RunFolder(sys.argv[1], "run")) as held:
    print("held", flush=True)
    while not held.lost:
        time.sleep(0.01)
print(held.lost, flush=True)
"""


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(claim, "SILENCE_SECONDS", 2.0)
    monkeypatch.setattr(claim, "_SETTLE_SECONDS", 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path), "run")


class Holding:
    """A process that holds the run, on this machine or on one that calls itself another."""

    def __init__(self, storage: Path, machine: str = "") -> None:
        command = [sys.executable, "-c", _HOLD, str(storage), machine]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.output = self.process.stdout
        assert self.output.readline() == "held\n"

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait()
        self.output.close()


def events_of(storage: Path) -> list[str]:
    return sorted(path.name for path in (storage / "run" / CLAIMS).iterdir())


def test_a_living_holder_is_named_and_one_that_was_killed_gives_way_at_once(tmp_path: Path, folder: RunFolder):
    holding = Holding(tmp_path)
    refused = rf"is being trained by process {holding.process.pid} on \S+, since .* \(last sign of life: 0 s ago\)"
    with pytest.raises(ConfigError, match=refused) as refusal, claimed(folder):
        pass
    assert "\n" not in str(refusal.value)
    holding.process.send_signal(signal.SIGSTOP)  # one that is stopped may go on
    with pytest.raises(ConfigError, match="is being trained by"), claimed(folder):
        pass
    holding.end()
    start = time.monotonic()
    with claimed(folder):
        assert time.monotonic() - start < 1
        assert [name for name in events_of(tmp_path) if name.endswith(".json")] == ["000001.json", "000002.json"]


def test_a_holder_on_another_machine_lives_as_long_as_it_gives_signs(tmp_path: Path, folder: RunFolder):
    elsewhere = Holding(tmp_path, "another machine")
    with pytest.raises(ConfigError, match=f"process {elsewhere.process.pid}"), claimed(folder):
        pass
    elsewhere.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    start = time.monotonic()
    with claimed(folder):
        assert time.monotonic() - start > claim.SILENCE_SECONDS * 0.9
        # it was only away for a while: it must notice, and stop
        elsewhere.process.send_signal(signal.SIGCONT)
        assert f"was taken over by process {os.getpid()} on " in elsewhere.output.readline()
    elsewhere.end()


def test_a_sign_of_life_from_long_ago_needs_no_waiting(folder: RunFolder):
    holder = replace(Holder.here(), machine="another machine")
    folder.create(f"{CLAIMS}/000001.json", json.dumps(asdict(holder)).encode())
    folder.write(f"{CLAIMS}/000001.beat", json.dumps({"time": time.time() - 3600, "released": False}).encode())
    start = time.monotonic()
    with claimed(folder):
        assert time.monotonic() - start < 1


@pytest.mark.parametrize("began", [False, True])
def test_a_run_is_given_back_and_one_that_never_began_leaves_nothing(tmp_path: Path, folder: RunFolder, began: bool):
    for _ in range(2):
        with claimed(folder):
            if began:
                folder.write(SETTINGS_FILE, b"{}")
    assert (tmp_path / "run").exists() == began
    if began:
        assert folder.read_json(f"{CLAIMS}/000002.beat")["released"]


def test_a_claim_that_was_cut_in_the_middle_holds_nothing_for_ever(tmp_path: Path, folder: RunFolder):
    folder.create(f"{CLAIMS}/000001.json", b'{"host"')
    with claimed(folder):
        assert "000002.json" in events_of(tmp_path)


class Replacing(RunFolder):
    """A storage that can only replace files, as object stores behind pyarrow."""

    def create(self, name: str, content: bytes) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [RunFolder, Replacing])
def test_of_many_that_start_at_once_one_gets_the_run(tmp_path: Path, kind: type[RunFolder], monkeypatch):
    monkeypatch.setattr(claim, "SILENCE_SECONDS", 10.0)
    ready, done, outcomes = threading.Barrier(8), threading.Event(), []

    def start(number: int) -> None:
        folder = kind(str(tmp_path), "run")
        monkeypatch.setattr(claim, "job", lambda: "")
        ready.wait()
        try:
            with claimed(folder):
                outcomes.append("held")
                done.wait(30)
        except ConfigError:
            outcomes.append("refused")

    # threads of one process: their claims would be equal but for the time, so they count as processes do
    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(outcomes) < 8:
        assert time.monotonic() < deadline, outcomes
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held"] + ["refused"] * 7
