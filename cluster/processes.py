"""Which process this is, and whether another one still runs."""

import os
import re
import socket
from pathlib import Path


def machine() -> str:
    """Returns a text that is equal only where process numbers mean the same: one boot, one process namespace."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux
        pass
    return " ".join(parts)


def start_time(process: int) -> str | None:
    """Returns when a process of this machine was started, in the kernel's ticks, or None if it does not run.

    Numbers are used again; number and start together name a process. Without /proc the text is empty.
    """
    try:
        # the second field, the program's name in brackets, may hold blanks and brackets
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def job() -> str:
    """Returns the scheduler's job that this process belongs to, such as `Slurm job 12`, or an empty text."""
    if number := os.environ.get("SLURM_JOB_ID"):
        return f"Slurm job {number}"
    # Ray puts the job's settings into its command's environment
    found = re.search(r'"job_submission_id": "([^"]+)"', os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", ""))
    return f"Ray job {found[1]}" if found else ""
