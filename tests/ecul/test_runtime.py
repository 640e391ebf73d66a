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
