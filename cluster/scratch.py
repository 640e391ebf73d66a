"""Temporary folders that do not outlive a process that is killed: the next worker on the machine removes them.

Each is locked by the process that uses it. The system frees the lock when that process ends, however it ends.
"""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "ecul-scratch-"
_YOUNG_S = 10.0  # a folder is made a moment before it is locked


class ScratchFolder:
    """A new temporary folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, purpose: str) -> None:
        """Makes and locks it; `purpose` is part of its name."""
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Removes the folder, if it is still there, and its lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_abandoned_folders() -> None:
    """Removes the temporary folders of processes of this user that have ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # not ours, gone meanwhile, or in use
            status = path.stat(follow_symlinks=False)
            if not path.is_dir() or status.st_uid != os.getuid() or time.time() - status.st_mtime < _YOUNG_S:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
