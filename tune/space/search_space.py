"""A search space: domains by configuration path, with constraints that every sample keeps by construction."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecul.errors import ConfigError
from tune.space.domains import Choice, Constraint, Domain, Numeric

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

SHARE = "@share"
"""Ending of an Optuna parameter that is a share of the values which a constraint leaves to a path."""
_MOST_CORNERS = 4096


@dataclass(frozen=True)
class SearchSpace:
    """What a sweep may choose.

    Some paths are bounded from below by a constraint. Such a path is drawn as a share, in [0, 1], of the values that
    are left to it once the smaller path is known (Optuna's name: the path and `@share`). So no trial breaks a
    constraint, and Optuna sees fixed domains, which multivariate samplers need.

    Attributes:
        domains: by path, in an order in which parents and smaller paths come first.
        conditions: {path: {parent: values}}; the path exists only while each parent has one of its values.
        constraints: between two paths of the space.
    """

    domains: Mapping[str, Domain]
    conditions: Mapping[str, Mapping[str, tuple[Any, ...]]]
    constraints: tuple[Constraint, ...] = ()

    def sample(self, trial: "BaseTrial") -> dict[str, Any]:
        """Draws {path: value} for the paths that exist in this trial.

        Args:
            trial: draws the numbers; an Optuna trial.
        """

        def draw(path: str, domain: Domain) -> Any:
            if isinstance(domain, Choice):
                return trial.suggest_categorical(path, domain.options)
            if self.is_bounded(path):
                return domain.value_at(trial.suggest_float(path + SHARE, 0.0, 1.0))
            if domain.integer:
                return trial.suggest_int(
                    path, int(domain.low), int(domain.high), step=int(domain.step or 1), log=domain.log
                )
            return trial.suggest_float(path, domain.low, domain.high, step=domain.step, log=domain.log)

        return self._walk(draw)

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a point's Optuna parameters: what `sample` must draw to return the point.

        Paths that the point leaves out are left to the sampler.

        Raises:
            ConfigError: a value outside its domain or against a constraint.
        """
        known: dict[str, Any] = {}
        encoded: dict[str, Any] = {}
        for path, domain in self.domains.items():
            if path not in values or not self._exists(path, values):
                continue
            allowed = self._allowed(path, domain, known)
            value = values[path]
            if not allowed.contains(value):
                raise ConfigError(f"point {path}={value!r} is outside {allowed}")
            known[path] = value
            if isinstance(allowed, Numeric) and self.is_bounded(path):
                encoded[path + SHARE] = allowed.share_of(value)
            else:
                encoded[path] = value
        return encoded

    def grid(self) -> list[dict[str, Any]]:
        """Returns every point of a space whose domains are all lists of values.

        Raises:
            ConfigError: a domain is continuous.
        """
        points: list[dict[str, Any]] = [{}]
        for path, domain in self.domains.items():
            extended: list[dict[str, Any]] = []
            for point in points:
                if self._exists(path, point):
                    extended += [point | {path: value} for value in self._allowed(path, domain, point).values()]
                else:
                    extended.append(point)
            points = extended
        return points

    def corners(self, *, num_inside: int = 64, seed: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the extreme points and some inside ones.

        Args:
            num_inside: how many inside ones, at random.
            seed: of the random points. Where there are more than 4,096 corners, as many are drawn at random.
        """
        ends = [range(len(d.options)) if isinstance(d, Choice) else (0.0, 1.0) for d in self.domains.values()]
        generator = np.random.default_rng(seed)
        if math.prod(len(end) for end in ends) <= _MOST_CORNERS:
            yield from (self._point_at(list(corner)) for corner in itertools.product(*ends))
        else:
            for _ in range(_MOST_CORNERS):
                yield self._point_at([end[generator.integers(len(end))] for end in ends])
        for _ in range(num_inside):
            inside = [
                int(generator.integers(len(end))) if isinstance(end, range) else float(generator.random())
                for end in ends
            ]
            yield self._point_at(inside)

    def is_bounded(self, path: str) -> bool:
        """Returns whether a constraint bounds the path from below."""
        return any(constraint.greater == path for constraint in self.constraints)

    def only(self, is_wanted: Callable[[str], bool]) -> "SearchSpace":
        """Returns the part of the space whose paths are wanted."""
        return SearchSpace(
            domains={path: domain for path, domain in self.domains.items() if is_wanted(path)},
            conditions={path: condition for path, condition in self.conditions.items() if is_wanted(path)},
            constraints=tuple(c for c in self.constraints if is_wanted(c.greater) and is_wanted(c.smaller)),
        )

    def _walk(self, choose: Callable[[str, Domain], Any]) -> dict[str, Any]:
        """Returns {path: value}: asks `choose` for each path that exists, with the domain that is left to it."""
        values: dict[str, Any] = {}
        for path, domain in self.domains.items():
            if self._exists(path, values):
                values[path] = choose(path, self._allowed(path, domain, values))
        return values

    def _point_at(self, places: Sequence[float]) -> dict[str, Any]:
        """The point at a place in each domain: the number of an option, or a share in [0, 1]."""
        by_path = dict(zip(self.domains, places, strict=True))

        def choose(path: str, domain: Domain) -> Any:
            place = by_path[path]
            return domain.options[int(place)] if isinstance(domain, Choice) else domain.value_at(place)

        return self._walk(choose)

    def _exists(self, path: str, values: Mapping[str, Any]) -> bool:
        return all(values.get(parent) in allowed for parent, allowed in self.conditions.get(path, {}).items())

    def _allowed(self, path: str, domain: Domain, values: Mapping[str, Any]) -> Domain:
        """The domain without what the values already chosen rule out."""
        if isinstance(domain, Choice):
            return domain
        for constraint in self.constraints:
            if constraint.greater == path and constraint.smaller in values:
                domain = domain.from_low(constraint.lowest(values[constraint.smaller], integer=domain.integer))
        return domain
