"""Functions of a clustering get what they would get in another process: arrays that cannot be written."""

from dataclasses import dataclass

import numba
import numpy as np
import pytest

from ecul.clustering.executor import InProcess


@dataclass(frozen=True)
class Pair:
    left: np.ndarray
    right: np.ndarray


def types_of(pair: Pair, arrays: list[np.ndarray], number: int) -> list[numba.types.Type]:
    return [numba.typeof(array) for array in (pair.left, pair.right, *arrays)] + [numba.typeof(number)]


def test_numba_sees_the_types_that_it_sees_in_a_task():
    here, there = Pair(np.zeros(3), np.zeros((3, 2))), Pair(np.zeros(3), np.zeros((3, 2)))
    for array in (there.left, there.right):
        array.flags.writeable = False  # as an object store hands it out
    found = InProcess().submit("stage", types_of, here, [here.left], 3)
    assert found == types_of(there, [there.left], 3)
    assert found != types_of(here, [here.left], 3)
    assert here.left.flags.writeable  # the caller's stay as they are


def test_an_input_cannot_be_written():
    def write(values: np.ndarray) -> None:
        values[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        InProcess().submit("stage", write, np.zeros(3))
