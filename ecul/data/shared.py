"""Memory that the processes of one machine share.

It is anonymous: it has no name in any file system and ends with the last process that uses it, however that ends.
"""

import mmap
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecul import runtime

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = "/proc/self/ns/pid"


@dataclass(frozen=True)
class SharedArray:
    """An array of one machine's processes, or of this one alone.

    Attributes:
        array: uint8, the same memory in each of these processes.
        part: rows that this process shall fill; the parts of the processes are all rows.
    """

    array: NDArray[np.uint8]
    part: slice


def shared_array(shape: tuple[int, ...]) -> SharedArray:
    """Returns an array that the ranks on this machine share, where the system allows it; every rank calls this.

    Args:
        shape: the same on every rank.
    """
    if runtime.world_size() == 1:
        return SharedArray(np.empty(shape, np.uint8), slice(None))
    machines = runtime.gather_objects(_machine())
    neighbours = [rank for rank, machine in enumerate(machines) if machine == machines[runtime.rank()]]
    leads = neighbours[0] == runtime.rank()
    own = _create(prod(shape)) if leads and len(neighbours) > 1 else None
    offered = runtime.gather_objects(None if own is None else f"/proc/{os.getpid()}/fd/{own}")
    memory = _open(offered[neighbours[0]], prod(shape))
    mapped = runtime.gather_objects(memory is not None)  # from here on nobody needs the descriptor
    if own is not None:
        os.close(own)
    if memory is None:
        return SharedArray(np.empty(shape, np.uint8), slice(None))
    filling = [rank for rank in neighbours if mapped[rank]]
    array = np.frombuffer(memory, np.uint8, prod(shape)).reshape(shape)
    return SharedArray(array, slice(filling.index(runtime.rank()), None, len(filling)))


def _machine() -> str:
    """What only processes have in common that can open each other's descriptors; else something unique."""
    try:
        return f"{_BOOT_ID.read_text().strip()} {os.readlink(_PID_NAMESPACE)} {os.getuid()}"
    except OSError:
        return f"{socket.gethostname()} {os.getpid()}"


def _create(size: int) -> int | None:
    """A descriptor of new memory, or None where the system has none of this kind or not enough."""
    if not hasattr(os, "memfd_create"):
        return None
    with suppress(OSError):
        descriptor = os.memfd_create("ecul-images")
        try:
            os.ftruncate(descriptor, size)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    return None


def _open(offered: str | None, size: int) -> mmap.mmap | None:
    """The memory behind a descriptor of a neighbour, or None."""
    if offered is None or not size:
        return None
    with suppress(OSError), open(offered, "r+b") as file:
        return mmap.mmap(file.fileno(), size)
    return None
