"""Sets of values for one setting, and order constraints between two settings."""

import math
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from ecul.errors import ConfigError

_CONSTRAINT = re.compile(r"^\s*([\w.]+)\s*(>=|<=|>|<)\s*([\w.]+)\s*$")
_ROUNDING = 1e-9
"""Absorbs rounding errors, so that 0.7 - 0.3 holds four steps of 0.1 and not three."""

_OFF_STEP = 1e-6
"""Part of a step by which a value may miss the grid."""


@dataclass(frozen=True)
class Numeric:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: smallest value.
        high: largest value.
        integer: whole numbers only.
        log: equal ratios are equally likely.
        step: distance of neighbouring values, counted from `low`; None for all (1 for integers).
    """

    low: float
    high: float
    _: KW_ONLY
    integer: bool = False
    log: bool = False
    step: float | None = None

    def value_at(self, share: float) -> Any:
        """Returns the value below which `share` of the domain lies.

        Args:
            share: in [0, 1]. Equal parts of it are equally likely values.
        """
        if self.log:
            value = self.low * (self._end / self.low) ** share
        elif self.step is not None:
            value = self.low + self.step * min(math.floor(share * self._num_steps), self._num_steps - 1)
        else:
            value = self.low + share * (self._end - self.low)
        if self.integer:
            return int(min(math.floor(value + _ROUNDING), self.high))
        return float(min(value, self.high))

    def share_of(self, value: float) -> float:
        """Returns a share that `value_at` turns into `value`, which must lie in the domain."""
        # the middle of the integer's cell: a share at its edge might round into the next one
        middle = value + 0.5 if self.integer else value
        if self.log:
            return math.log(middle / self.low) / max(math.log(self._end / self.low), 1e-12)
        if self.step is not None:
            return (round((value - self.low) / self.step) + 0.5) / self._num_steps
        span = self._end - self.low
        return (middle - self.low) / span if span else 0.0

    def values(self) -> list[Any]:
        """Returns all values.

        Raises:
            ConfigError: the domain is continuous.
        """
        if self.step is None and not self.integer:
            raise ConfigError(f"a grid over [{self.low}, {self.high}] needs a step, such as step: 0.05")
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + _ROUNDING) + 1
        numbers = [self.low + step * place for place in range(count)]
        return [int(number) if self.integer else round(number, 12) for number in numbers]

    def from_low(self, low: float) -> "Numeric":
        """Returns the domain without its values below `low`; it always keeps one value."""
        if low <= self.low:
            return self
        if self.step is not None:
            # the next value of the grid: the domain's values stay the same
            low = self.low + self.step * math.ceil((low - self.low) / self.step - _ROUNDING)
        return replace(self, low=min(low, self.high))

    def contains(self, value: Any) -> bool:
        """Returns whether it is one of the domain's numbers."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        if self.integer and value != round(value):
            return False
        steps = (value - self.low) / self.step if self.step is not None else 0.0
        return abs(steps - round(steps)) < _OFF_STEP

    @property
    def _end(self) -> float:
        """End of the interval that shares divide: each integer n fills the cell [n, n + 1)."""
        return self.high + 1.0 if self.integer else self.high

    @property
    def _num_steps(self) -> int:
        assert self.step is not None
        return math.floor((self.high - self.low) / self.step + _ROUNDING) + 1

    def __str__(self) -> str:
        return f"[{self.low}, {self.high}]{'' if self.step is None else f' in steps of {self.step:g}'}"


@dataclass(frozen=True)
class Choice:
    """One of some values, without order."""

    options: tuple[Any, ...]

    def values(self) -> list[Any]:
        """Returns all values."""
        return list(self.options)

    def contains(self, value: Any) -> bool:
        """Returns whether it is one of the values."""
        return value in self.options

    def __str__(self) -> str:
        return f"{list(self.options)}"


Domain = Numeric | Choice


def hull(domains: Sequence[Domain]) -> Domain:
    """Returns a domain that holds all values of the given ones, which are all numbers or all choices; for pictures."""
    choices = [domain for domain in domains if isinstance(domain, Choice)]
    if choices:
        return Choice(tuple(dict.fromkeys(option for choice in choices for option in choice.options)))
    numbers = [domain for domain in domains if isinstance(domain, Numeric)]
    return Numeric(
        min(domain.low for domain in numbers),
        max(domain.high for domain in numbers),
        integer=all(domain.integer for domain in numbers),
        log=all(domain.log for domain in numbers),
    )


@dataclass(frozen=True)
class Constraint:
    """`greater >= smaller`, or `>` where strict; both are configuration paths."""

    greater: str
    smaller: str
    strict: bool = False

    @classmethod
    def parse(cls, text: str) -> "Constraint":
        """Returns the constraint of a text such as `clustering.k3 >= clustering.k2`.

        Raises:
            ConfigError: another form.
        """
        match = _CONSTRAINT.match(text)
        if match is None:
            raise ConfigError(f"constraint {text!r} is not PATH >= PATH (or >, <=, <)")
        left, sign, right = match.groups()
        greater, smaller = (left, right) if sign[0] == ">" else (right, left)
        return cls(greater, smaller, strict="=" not in sign)

    def lowest(self, smaller: float, *, integer: bool) -> float:
        """Returns the least value that `greater` may have."""
        if not self.strict:
            return smaller
        return smaller + 1 if integer else math.nextafter(smaller, math.inf)

    def highest(self, greater: float, *, integer: bool) -> float:
        """Returns the largest value that `smaller` may have."""
        if not self.strict:
            return greater
        return greater - 1 if integer else math.nextafter(greater, -math.inf)

    def __str__(self) -> str:
        return f"{self.greater} {'>' if self.strict else '>='} {self.smaller}"
