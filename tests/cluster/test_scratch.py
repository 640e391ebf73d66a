import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.scratch import ScratchFolder, remove_abandoned_folders

PROGRAM = """
import os, sys
from cluster.scratch import ScratchFolder
folder = ScratchFolder("checkpoint")
(folder.path / "state.pt").write_bytes(b"x")
print(folder.path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_folders_of_killed_processes_are_removed_and_those_in_use_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    abandoned = Path(killed.stdout.strip())
    used = ScratchFolder("run")
    assert abandoned.parent == used.path.parent == tmp_path
    remove_abandoned_folders()
    assert abandoned.exists()  # too young to be sure
    long_ago = time.time() - 60
    for folder in (abandoned, used.path):
        os.utime(folder, (long_ago, long_ago))
    remove_abandoned_folders()
    assert [path for path in tmp_path.iterdir()] == [used.path]
    used.remove()
    assert not list(tmp_path.iterdir())
