"""A sweep's command that can be killed while it writes a line of its study: `python torn_line.py TRIGGER ARGUMENT...`.

Once the file TRIGGER exists, the next write of the journal stops in the middle of its line, with the journal's lock
held, and the process is killed without a word. A signal from outside would never hit these few microseconds.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file


def lay(trigger: Path) -> None:
    """Replaces the journal's write in this process."""
    original = JournalFileBackend.append_logs

    def write_or_die(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if not trigger.exists():
            original(self, logs)
            return
        with get_lock_file(self._lock), open(self._file_path, "ab") as file:
            line = json.dumps(logs[0]).encode()
            file.write(line[: len(line) // 2])
            file.flush()
            trigger.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    JournalFileBackend.append_logs = write_or_die


if __name__ == "__main__":
    lay(Path(sys.argv[1]))
    sys.argv = ["tune.run", *sys.argv[2:]]
    runpy.run_module("tune.run", run_name="__main__", alter_sys=True)
