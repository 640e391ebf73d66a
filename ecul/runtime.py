"""Device, random generators and the process group. One process without a group behaves as rank 0 of 1."""

import os
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ecul.errors import EculError

T = TypeVar("T")


def pick_device(name: str) -> torch.device:
    """Returns the named device; `auto` is CUDA (of this process), else MPS, else the CPU.

    Raises:
        EculError: the named device is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])
    if not available[name]:
        usable = ", ".join(device for device, there in available.items() if there)
        raise EculError(f"device {name} is not available; this machine has: {usable}")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def generator(*key: int) -> np.random.Generator:
    """Returns the random generator of a key such as (seed, epoch, step); equal keys give equal numbers."""
    return np.random.default_rng(list(key))


def torch_generator(*key: int) -> torch.Generator:
    """Returns the CPU torch generator of a key."""
    return torch.Generator().manual_seed(int(generator(*key).integers(2**62)))


def rank() -> int:
    """Returns the rank of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Returns the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Returns whether this process does file output and logging."""
    return rank() == 0


def gather_rows(rows: Tensor) -> Tensor:
    """Returns the tensors of all ranks joined in rank order; all must have the same shape."""
    return rows if world_size() == 1 else torch.cat(_gathered(rows))


def gather_dealt(rows: Tensor, *, dim: int) -> Tensor:
    """Returns the tensors of all ranks, joined along `dim` in the order in which its rows were dealt to them in turn.

    Row i of the whole is row i // W of rank i % W, where W is the number of ranks; all have equally many.
    """
    return rows if world_size() == 1 else torch.stack(_gathered(rows), dim=dim + 1).flatten(dim, dim + 1)


def _gathered(rows: Tensor) -> list[Tensor]:
    rows = rows.contiguous()
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows)
    return parts


def own_share(num_rows: int) -> slice:
    """Returns this rank's of equal consecutive shares; the last ranks may have less, or nothing."""
    share = -(-num_rows // world_size())
    return slice(min(rank() * share, num_rows), min((rank() + 1) * share, num_rows))


def gather_shares(rows: Tensor, num_rows: int) -> Tensor:
    """Returns all rows from each rank's share (`own_share`), on the same device.

    The whole is held once, beside the rank's own share.

    Args:
        rows: this rank's.
        num_rows: of all ranks.
    """
    if world_size() == 1:
        return rows
    share = -(-num_rows // world_size())
    if len(rows) < share:  # all ranks must give equally much; the padding is at the end of the whole
        rows = torch.cat([rows, rows.new_zeros((share - len(rows), *rows.shape[1:]))])
    whole = rows.new_empty((world_size() * share, *rows.shape[1:]))
    dist.all_gather_into_tensor(whole, rows.contiguous())
    return whole[:num_rows]


def gather_objects(value: T) -> list[T]:
    """Returns the values of all ranks in rank order; they must be small and picklable."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def together(work: Callable[[], T]) -> T:
    """Returns what `work` returns on this rank when all ranks are done; an error on any rank is raised on every one.

    Otherwise the others would wait for one that has failed.

    Raises:
        EculError: of another rank, or one that names what else another rank raised.
    """
    outcome: T | None = None
    own: Exception | None = None
    try:
        outcome = work()
    except Exception as error:
        own = error
    told = own if own is None or isinstance(own, EculError) else EculError(f"{type(own).__name__}: {own}")
    errors = [error for error in gather_objects(told) if error is not None]
    if own is not None:
        raise own
    if errors:
        raise errors[0]
    return outcome  # pyright: ignore[reportReturnType]


def on_main(work: Callable[[], T]) -> T:
    """Returns what `work` returns on rank 0, on every rank; an error of `work` is raised on every rank.

    Otherwise the other ranks would wait for one that has failed. Rank 0 raises the error itself; the others raise it
    too if it can be pickled, else a RuntimeError with its kind and text.
    """
    if world_size() == 1:
        return work()
    outcome: list[tuple[T | None, Exception | None]] = [(None, None)]
    own: Exception | None = None
    if is_main():
        try:
            outcome = [(work(), None)]
        except Exception as error:
            own = error
            outcome = [(None, _portable(error))]
    dist.broadcast_object_list(outcome, src=0)
    value, error = outcome[0]
    if own is not None or error is not None:
        raise own or error  # pyright: ignore[reportGeneralTypeIssues] - one of them is there
    return value  # pyright: ignore[reportReturnType]


def _portable(error: Exception) -> Exception:
    """The error, or what can be sent of one that cannot be pickled and read back as it is."""
    try:
        if type(pickle.loads(pickle.dumps(error))) is type(error):
            return error
    except Exception:  # whatever a foreign class raises when it is pickled or made anew
        pass
    return RuntimeError(f"rank 0 failed ({type(error).__name__}: {str(error)[:500]})")


def make_deterministic(seed: int) -> None:
    """Seeds torch's global generator and selects deterministic kernels; call it before the first CUDA call."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
