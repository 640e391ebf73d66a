"""Which GPUs a process sees."""

import os


def hide_all_gpus() -> None:
    """Makes all GPUs invisible to this process, which reserved none: Ray itself leaves them visible.

    It must be called before the process uses CUDA for the first time.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
