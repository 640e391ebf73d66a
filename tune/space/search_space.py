"""A search space: domains by configuration path, with constraints that every sample keeps by construction."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ecul.errors import ConfigError

Value = Any
SHARE = "@share"
_CONSTRAINT = re.compile(r"^\s*([\w.]+)\s*(>=|<=|>|<)\s*([\w.]+)\s*$")
_MOST_CORNERS = 4096


class Suggester(Protocol):
    """The part of an Optuna trial that draws numbers."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """An integer in [low, high]."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...


@dataclass(frozen=True)
class Numeric:
    """Numbers from `low` to `high`, both included.

    Attributes:
        integer: whole numbers only.
        log: equal ratios are equally likely.
        step: distance of neighbouring values, counted from `low`; None for all (1 for integers).
    """

    low: float
    high: float
    integer: bool = False
    log: bool = False
    step: float | None = None

    def at(self, share: float) -> Value:
        """The value below which `share` (in [0, 1]) of the domain lies."""
        width = 1.0 if self.integer else 0.0
        if self.log:
            value = self.low * ((self.high + width) / self.low) ** share
        elif self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            value = self.low + self.step * min(math.floor(share * count), count - 1)
        else:
            value = self.low + share * (self.high + width - self.low)
        if self.integer:
            return int(min(math.floor(value + 1e-9), self.high))
        return float(min(value, self.high))

    def share_of(self, value: float) -> float:
        """A share that `at` turns into `value`, which lies in the domain."""
        width = 1.0 if self.integer else 0.0
        middle = value + width / 2
        if self.log:
            return math.log(middle / self.low) / max(math.log((self.high + width) / self.low), 1e-12)
        if self.step is not None:
            count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
            return (round((value - self.low) / self.step) + 0.5) / count
        span = self.high + width - self.low
        return (middle - self.low) / span if span else 0.0

    def values(self) -> list[Value]:
        """All values, of a domain that is a grid."""
        if self.step is None and not self.integer:
            raise ConfigError(f"a grid over [{self.low}, {self.high}] needs a step, such as step: 0.05")
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        found = [self.low + step * number for number in range(count)]
        return [int(value) if self.integer else round(value, 12) for value in found]

    def from_low(self, low: float) -> "Numeric":
        """The domain without its values under `low`."""
        if low <= self.low:
            return self
        if self.step is not None:
            low = self.low + self.step * math.ceil((low - self.low) / self.step - 1e-9)
        return replace(self, low=min(low, self.high))

    def contains(self, value: Value) -> bool:
        """Whether a value lies in the domain; the step is not looked at."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of some values, without order."""

    options: tuple[Value, ...]

    def values(self) -> list[Value]:
        """All values."""
        return list(self.options)

    def contains(self, value: Value) -> bool:
        """Whether it is one of the values."""
        return value in self.options


Domain = Numeric | Choice


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
        found = _CONSTRAINT.match(text)
        if found is None:
            raise ConfigError(f"constraint {text!r} is not PATH >= PATH (or >, <=, <)")
        left, sign, right = found.groups()
        greater, smaller = (left, right) if sign[0] == ">" else (right, left)
        return cls(greater, smaller, strict="=" not in sign)

    def lowest(self, smaller: float, *, integer: bool) -> float:
        """The least value that `greater` may have."""
        if not self.strict:
            return smaller
        return smaller + 1 if integer else math.nextafter(smaller, math.inf)

    def highest(self, greater: float, *, integer: bool) -> float:
        """The largest value that `smaller` may have."""
        if not self.strict:
            return greater
        return greater - 1 if integer else math.nextafter(greater, -math.inf)


@dataclass(frozen=True)
class SearchSpace:
    """What a sweep may choose.

    A path that a constraint bounds from below is drawn as a share, in [0, 1], of the values left to it once the
    smaller path is known (Optuna's name: the path and `@share`). So no trial breaks a constraint, and Optuna sees
    fixed domains, which multivariate samplers need.

    Attributes:
        domains: by path, in an order in which parents and smaller paths come first.
        conditions: paths that exist only while each named path has one of the given values.
        constraints: between two paths of the space.
    """

    domains: Mapping[str, Domain]
    conditions: Mapping[str, Mapping[str, tuple[Value, ...]]]
    constraints: tuple[Constraint, ...] = ()

    def __call__(self, trial: Suggester) -> dict[str, Any]:
        """Draws the values of a trial, in the form that Ray Tune's define-by-run search takes."""
        return {"values": self.sample(trial)}

    def sample(self, trial: Suggester) -> dict[str, Value]:
        """Draws {path: value} for the paths that exist in this trial."""

        def draw(path: str, domain: Domain) -> Value:
            if isinstance(domain, Choice):
                return trial.suggest_categorical(path, domain.options)
            if self.is_bounded(path):
                return domain.at(trial.suggest_float(path + SHARE, 0.0, 1.0))
            if domain.integer:
                return trial.suggest_int(
                    path, int(domain.low), int(domain.high), step=int(domain.step or 1), log=domain.log
                )
            return trial.suggest_float(path, domain.low, domain.high, step=domain.step, log=domain.log)

        return self.walk(draw)

    def walk(self, choose: Callable[[str, Domain], Value]) -> dict[str, Value]:
        """Returns {path: value}, asking `choose` for each path that exists, its domain cut by the values before it."""
        values: dict[str, Value] = {}
        for path, domain in self.domains.items():
            if self._exists(path, values):
                values[path] = choose(path, self._left(path, domain, values))
        return values

    def encode(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Returns a point's Optuna parameters; paths that it leaves out are left to the sampler.

        Raises:
            ConfigError: a value outside its domain or against a constraint.
        """
        known: dict[str, Value] = {}
        encoded: dict[str, Value] = {}
        for path, domain in self.domains.items():
            if path not in values or not self._exists(path, values):
                continue
            left = self._left(path, domain, known)
            value = values[path]
            if not left.contains(value):
                raise ConfigError(f"point {path}={value!r} is outside {_describe(left)}")
            known[path] = value
            if isinstance(left, Numeric) and self.is_bounded(path):
                encoded[path + SHARE] = left.share_of(value)
            else:
                encoded[path] = value
        return encoded

    def decode(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Returns {path: value} of Optuna parameters."""

        def read(path: str, domain: Domain) -> Value:
            if isinstance(domain, Numeric) and self.is_bounded(path):
                return domain.at(parameters[path + SHARE])
            return parameters[path]

        return self.walk(read)

    def grid(self) -> list[dict[str, Value]]:
        """Returns every point of a space whose domains are all lists of values."""
        points: list[dict[str, Value]] = [{}]
        for path, domain in self.domains.items():
            points = [
                point | extra
                for point in points
                for extra in (
                    [{path: value} for value in self._left(path, domain, point).values()]
                    if self._exists(path, point)
                    else [{}]
                )
            ]
        return points

    def corners(self, *, num_inside: int = 64, seed: int = 0) -> Iterator[dict[str, Value]]:
        """Yields the extreme points and some inside ones; a random part of the corners where there are too many."""
        ends = [range(len(d.options)) if isinstance(d, Choice) else (0.0, 1.0) for d in self.domains.values()]
        generator = np.random.default_rng(seed)
        if math.prod(len(end) for end in ends) <= _MOST_CORNERS:
            yield from (self._place(list(corner)) for corner in itertools.product(*ends))
        else:
            for _ in range(_MOST_CORNERS):
                yield self._place([end[generator.integers(len(end))] for end in ends])
        for _ in range(num_inside):
            inside = [
                int(generator.integers(len(end))) if isinstance(end, range) else float(generator.random())
                for end in ends
            ]
            yield self._place(inside)

    def is_bounded(self, path: str) -> bool:
        """Whether a constraint bounds the path from below."""
        return any(constraint.greater == path for constraint in self.constraints)

    def only(self, wanted: Callable[[str], bool]) -> "SearchSpace":
        """Returns the part of the space whose paths are wanted."""
        return SearchSpace(
            {path: domain for path, domain in self.domains.items() if wanted(path)},
            {path: condition for path, condition in self.conditions.items() if wanted(path)},
            tuple(c for c in self.constraints if wanted(c.greater) and wanted(c.smaller)),
        )

    def _place(self, place: Sequence[float]) -> dict[str, Value]:
        by_path = dict(zip(self.domains, place, strict=True))
        return self.walk(
            lambda path, d: d.options[int(by_path[path])] if isinstance(d, Choice) else d.at(by_path[path])
        )

    def _exists(self, path: str, values: Mapping[str, Value]) -> bool:
        return all(values.get(parent) in allowed for parent, allowed in self.conditions.get(path, {}).items())

    def _left(self, path: str, domain: Domain, values: Mapping[str, Value]) -> Domain:
        """The domain without what the values already chosen rule out."""
        if isinstance(domain, Choice):
            return domain
        for constraint in self.constraints:
            if constraint.greater == path and constraint.smaller in values:
                domain = domain.from_low(constraint.lowest(values[constraint.smaller], integer=domain.integer))
        return domain


def _describe(domain: Domain) -> str:
    return f"{list(domain.options)}" if isinstance(domain, Choice) else f"[{domain.low}, {domain.high}]"
