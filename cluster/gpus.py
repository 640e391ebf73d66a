"""Which GPUs a process sees, and what it leaves on them."""

import os
import sys

VISIBLE = "CUDA_VISIBLE_DEVICES"


def hide_all_gpus() -> None:
    """Makes all GPUs invisible to this process, which reserved none: Ray itself leaves them visible.

    It must be called before the process uses CUDA for the first time.
    """
    os.environ[VISIBLE] = ""


def free_gpu_memory() -> None:
    """Gives back GPU memory that torch keeps for later, from a process that Ray keeps for the next task."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
