"""A search space: domains by configuration path, with constraints that every sample keeps by construction."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecul.errors import ConfigError
from tune.space.domains import Choice, Constraint, Domain, Numeric, hull

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

SHARE = "@share"
"""Ending of an Optuna parameter that is a share of the values which a constraint leaves to a path."""
CASE = "@case"
"""Between a path and the number of a case, in the name of a domain."""
_MOST_CORNERS = 4096


def path_of(name: str) -> str:
    """Returns the path of a domain's name."""
    return name.partition(CASE)[0]


@dataclass(frozen=True)
class SearchSpace:
    """What a sweep may choose.

    Some paths are bounded from below by a constraint. Such a path is drawn as a share, in [0, 1], of the values that
    are left to it once the smaller path is known (Optuna's name: the path and `@share`). So no trial breaks a
    constraint, and Optuna sees fixed domains, which multivariate samplers need.

    A domain's name is its path. Where a path has other values in other trials, it has several domains, and their names
    are the path, `@case` and a number; at most one of them exists in a trial.

    Attributes:
        domains: by name, in an order in which parents and smaller paths come first.
        conditions: {name: {parent's path: values}}; the domain exists only while each parent has one of its values.
        constraints: between two names.
    """

    domains: Mapping[str, Domain]
    conditions: Mapping[str, Mapping[str, tuple[Any, ...]]]
    constraints: tuple[Constraint, ...] = ()

    def sample(self, trial: "BaseTrial") -> dict[str, Any]:
        """Draws {path: value} for the domains that exist in this trial.

        Args:
            trial: draws the numbers; an Optuna trial.
        """

        def draw(name: str, domain: Domain) -> Any:
            if isinstance(domain, Choice):
                return trial.suggest_categorical(name, domain.options)
            if self.is_bounded(name):
                return domain.value_at(trial.suggest_float(name + SHARE, 0.0, 1.0))
            if domain.integer:
                return trial.suggest_int(
                    name, int(domain.low), int(domain.high), step=int(domain.step or 1), log=domain.log
                )
            return trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)

        return self._walk(draw)

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a point's Optuna parameters: what `sample` must draw to return the point.

        Paths that the point leaves out are left to the sampler.

        Raises:
            ConfigError: a value outside its domain or against a constraint.
        """
        known: dict[str, Any] = {}
        encoded: dict[str, Any] = {}
        for name, domain in self.domains.items():
            path = path_of(name)
            if path not in values or not self._exists(name, values):
                continue
            allowed = self._allowed(name, domain, known)
            value = values[path]
            if not allowed.contains(value):
                raise ConfigError(f"point {path}={value!r} is outside {allowed}")
            known[path] = value
            if isinstance(allowed, Numeric) and self.is_bounded(name):
                encoded[name + SHARE] = allowed.share_of(value)
            else:
                encoded[name] = value
        return encoded

    def grid(self) -> list[dict[str, Any]]:
        """Returns every point of a space whose domains are all lists of values.

        Raises:
            ConfigError: a domain is continuous.
        """
        points: list[dict[str, Any]] = [{}]
        for name, domain in self.domains.items():
            extended: list[dict[str, Any]] = []
            for point in points:
                if self._exists(name, point):
                    allowed = self._allowed(name, domain, point).values()
                    extended += [point | {path_of(name): value} for value in allowed]
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

    @property
    def paths(self) -> dict[str, Domain]:
        """The domain of each path; of one with several cases, what holds them all."""
        by_path: dict[str, list[Domain]] = {}
        for name, domain in self.domains.items():
            by_path.setdefault(path_of(name), []).append(domain)
        return {path: domains[0] if len(domains) == 1 else hull(domains) for path, domains in by_path.items()}

    def domain_of(self, path: str, values: Mapping[str, Any]) -> Domain | None:
        """Returns the domain of a path in a trial with these values, or None where it does not exist."""
        names = (name for name in self.domains if path_of(name) == path and self._exists(name, values))
        return next((self.domains[name] for name in names), None)

    def is_bounded(self, name: str) -> bool:
        """Returns whether a constraint bounds the domain from below."""
        return any(constraint.greater == name for constraint in self.constraints)

    def only(self, is_wanted: Callable[[str], bool]) -> "SearchSpace":
        """Returns the part of the space whose paths are wanted."""

        def kept(name: str) -> bool:
            return is_wanted(path_of(name))

        return SearchSpace(
            domains={name: domain for name, domain in self.domains.items() if kept(name)},
            conditions={name: condition for name, condition in self.conditions.items() if kept(name)},
            constraints=tuple(c for c in self.constraints if kept(c.greater) and kept(c.smaller)),
        )

    def _walk(self, choose: Callable[[str, Domain], Any]) -> dict[str, Any]:
        """Returns {path: value}: asks `choose` for each domain that exists, with what is left of it."""
        values: dict[str, Any] = {}
        for name, domain in self.domains.items():
            if self._exists(name, values):
                values[path_of(name)] = choose(name, self._allowed(name, domain, values))
        return values

    def _point_at(self, places: Sequence[float]) -> dict[str, Any]:
        """The point at a place in each domain: the number of an option, or a share in [0, 1]."""
        by_name = dict(zip(self.domains, places, strict=True))

        def choose(name: str, domain: Domain) -> Any:
            place = by_name[name]
            return domain.options[int(place)] if isinstance(domain, Choice) else domain.value_at(place)

        return self._walk(choose)

    def _exists(self, name: str, values: Mapping[str, Any]) -> bool:
        return all(values.get(parent) in allowed for parent, allowed in self.conditions.get(name, {}).items())

    def _allowed(self, name: str, domain: Domain, values: Mapping[str, Any]) -> Domain:
        """The domain without what the values already chosen rule out."""
        if isinstance(domain, Choice):
            return domain
        for constraint in self.constraints:
            smaller = path_of(constraint.smaller)
            if constraint.greater == name and smaller in values and self._exists(constraint.smaller, values):
                domain = domain.from_low(constraint.lowest(values[smaller], integer=domain.integer))
        return domain
