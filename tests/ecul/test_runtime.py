import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ecul import runtime
from ecul.errors import EculError


def test_random_generators_depend_on_the_whole_key():
    assert runtime.generator(1, 2).random() == runtime.generator(1, 2).random()
    assert runtime.generator(1, 2).random() != runtime.generator(2, 1).random()
    assert runtime.torch_generator(3).initial_seed() == runtime.torch_generator(3).initial_seed()


def test_a_missing_device_is_named():
    if not torch.cuda.is_available():
        with pytest.raises(EculError, match="cuda is not available"):
            runtime.pick_device("cuda")
    assert runtime.pick_device("cpu").type == "cpu"


def test_a_single_process_is_rank_0_of_1():
    rows = torch.ones(2, 3)
    assert (runtime.rank(), runtime.world_size(), runtime.is_main()) == (0, 1, True)
    assert runtime.gather_rows(rows) is rows
    assert runtime.on_main(lambda: 5) == 5


_RANK = """
import os, sys
import torch.distributed as dist
from ecul import runtime
from ecul.errors import ConfigError

class Foreign(ValueError):
    def __init__(self, text, more):
        super().__init__(text)

def ours():
    raise ConfigError("eps is -1")

def foreign():
    raise Foreign("row 7 is nan", 1)

def other():
    raise KeyError("k")

dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=int(sys.argv[1]), world_size=2)
for work in (ours, foreign, other):
    try:
        runtime.on_main(work)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
os._exit(0)
"""


def test_an_error_of_rank_0_reaches_every_rank_whatever_its_class(tmp_path: Path):
    command = [sys.executable, "-c", _RANK]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    own, other = (rank.communicate(timeout=100)[0].splitlines() for rank in ranks)
    assert own == ["ConfigError: eps is -1", "Foreign: row 7 is nan", "KeyError: 'k'"]
    assert other == ["ConfigError: eps is -1", "RuntimeError: rank 0 failed (Foreign: row 7 is nan)", "KeyError: 'k'"]
