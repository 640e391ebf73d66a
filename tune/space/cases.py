"""Paths that have other values in other trials: their domains by name, and the constraints between these."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from ecul.errors import ConfigError
from tune.config import CaseConfig, DomainConfig
from tune.space.domains import Constraint
from tune.space.search_space import CASE, path_of

Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
"""{name: {parent's path: values}}."""


def named_domains(space: Mapping[str, DomainConfig]) -> dict[str, CaseConfig]:
    """Returns the domains by name: the path, or for each of its cases the path and the case's number.

    Raises:
        ConfigError: two cases of one path that one trial could have.
    """
    named: dict[str, CaseConfig] = {}
    for path, domain in space.items():
        if domain.cases is None:
            named[path] = domain
            continue
        for first, second in combinations(domain.cases, 2):
            if not _exclude(first.when, second.when):
                raise ConfigError(
                    f"space.{path}: two of its cases hold in one trial (when {first.when} and {second.when}); "
                    "give them different values of one path"
                )
        named |= {f"{path}{CASE}{number}": case for number, case in enumerate(domain.cases, start=1)}
    return named


def between_cases(
    constraints: Sequence[Constraint], conditions: Conditions, named: Mapping[str, Any]
) -> list[Constraint]:
    """Returns the constraints between names: one for each two cases that a trial can have together.

    Args:
        constraints: between paths.
        conditions: of the names.
        named: all names. A path that is not among them stays as it is.
    """
    names: dict[str, list[str]] = {}
    for name in named:
        names.setdefault(path_of(name), []).append(name)
    return [
        replace(constraint, greater=greater, smaller=smaller)
        for constraint in constraints
        for greater in names.get(constraint.greater, [constraint.greater])
        for smaller in names.get(constraint.smaller, [constraint.smaller])
        if not _exclude(conditions.get(greater, {}), conditions.get(smaller, {}))
    ]


def _exclude(first: Mapping[str, Sequence[Any]], second: Mapping[str, Sequence[Any]]) -> bool:
    """Whether two conditions cannot hold together, as far as they name the same paths."""
    return any(not any(value in second[path] for value in first[path]) for path in first if path in second)
