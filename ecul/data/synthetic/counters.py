"""Random numbers from counters: any number can be had alone, whatever was drawn before, by whom and where.

A number depends on its seed and keys only (stream, identity, camera, image, property), so an image is the same
whether it is drawn first or last, in one process or in many.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_FLOAT_BITS = np.uint64(11)

Keys = int | NDArray[np.integer[Any]]


def hash_keys(seed: int, *keys: Keys) -> NDArray[np.uint64]:
    """Returns one well-mixed 64-bit number (SplitMix64) for each element of the broadcast non-negative keys."""
    state = _mix(np.asarray(seed % 2**64, np.uint64))
    for key in keys:
        with np.errstate(over="ignore"):
            state = _mix(state ^ (np.asarray(key).astype(np.uint64) * _STEP + _STEP))
    return state


def uniform(seed: int, *keys: Keys, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
    """Returns numbers in [low, high) for the broadcast keys."""
    unit = (hash_keys(seed, *keys) >> _FLOAT_BITS).astype(np.float64) / 2.0**53
    return low + (high - low) * unit


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))


class Stream:
    """Draws for a set of entities; each call is the next property of all of them.

    The n-th property of an entity depends on the seed, the kind, the entity and n only, so a property added at the
    end leaves the earlier ones as they are.

    Attributes:
        shape: shape of every draw.
    """

    def __init__(self, seed: int, kind: int, *entities: NDArray[np.integer[Any]]) -> None:
        """Takes the seed, a number for the kind of thing drawn, and the entities' numbers (broadcast)."""
        self._base = hash_keys(seed, kind, *entities)
        self._property = 0
        self.shape = self._base.shape

    def uniform(self, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """Returns the next property, uniform in [low, high)."""
        self._property += 1
        with np.errstate(over="ignore"):
            mixed = _mix(self._base ^ (np.uint64(self._property) * _STEP))
        return low + (high - low) * ((mixed >> _FLOAT_BITS).astype(np.float64) / 2.0**53)

    def chance(self, probability: float) -> NDArray[np.bool_]:
        """Returns the next property, true with a probability."""
        return self.uniform() < probability

    def choose(self, weights: tuple[float, ...]) -> NDArray[np.int64]:
        """Returns the next property, a position in `weights`, which sum to 1."""
        bounds = np.cumsum(weights)[:-1]
        return np.searchsorted(bounds, self.uniform(), side="right")
