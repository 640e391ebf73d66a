"""From a sweep's configuration to a checked search space."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ecul.config import Config, moved_to
from ecul.errors import ConfigError
from ecul.schema import did_you_mean, setting_paths
from ecul.settings import config_tree, updated
from tune.config import CaseConfig, DomainConfig, SweepConfig
from tune.roles import INTRA, K2, K3, UNITED, role_of
from tune.space.cases import between_cases, named_domains
from tune.space.domains import Choice, Constraint, Domain, Numeric
from tune.space.search_space import SearchSpace, path_of
from tune.text import values_text
from tune.trials.settings import trial_config, value_at


def build_space(sweep: SweepConfig, base: Config) -> SearchSpace:
    """Returns the space of the sweep's fidelity. `check_corners` tries it against the configuration.

    Args:
        sweep: its `space` and `constraints`.
        base: the configuration that trials change.

    Raises:
        ConfigError: an unknown or fixed path, or a constraint that cannot hold.
    """
    for path in sweep.space:
        _check_path(path)
    named = named_domains(sweep.space)
    conditions = {name: dict(domain.when) for name, domain in named.items() if domain.when}
    for name, parents in conditions.items():
        for parent in parents:
            if parent not in sweep.space:
                raise ConfigError(f"space.{path_of(name)}.when names {parent}, which is not in the space")
    constraints = between_cases([Constraint.parse(text) for text in sweep.constraints], conditions, named)
    shortest, longest = (with_lengths(sweep.space, base, end) for end in (0.0, 1.0))
    given = {name: _domain(path_of(name), domain, shortest, longest) for name, domain in named.items()}
    domains = _tightened(given, constraints, base)
    between = tuple(dict.fromkeys(c for c in constraints if c.greater in domains and c.smaller in domains))
    order = _order(domains, conditions, between)
    space = SearchSpace({name: domains[name] for name in order}, conditions, between)
    return _features_part(space) if sweep.fidelity == "features" else space


def with_lengths(space: Mapping[str, DomainConfig], base: Config, share: float) -> Config:
    """Returns the base as long as a trial may be.

    Args:
        space: of the sweep's file.
        base: the configuration that trials change.
        share: 0 for the shortest trial, 1 for the longest.

    Raises:
        ConfigError: the configuration refuses such a length.
    """
    lengths: dict[str, Any] = {}
    for path, given in space.items():
        if role_of(path).is_length:
            domains = [_free_domain(part) for part in given.parts]
            ends = [d.values() if isinstance(d, Choice) else [d.value_at(share)] for d in domains]
            lengths[path] = sorted(itertools.chain(*ends))[-1 if share else 0]
    return updated(base, lengths)


def check_corners(space: SearchSpace, base: Config) -> None:
    """Checks that the configuration takes every corner of the space, and some points inside.

    Args:
        space: to be tried; up to 4,160 points.
        base: the configuration that trials change.

    Raises:
        ConfigError: values that the configuration refuses.
    """
    for values in space.corners():
        try:
            trial_config(base, values)
        except ConfigError as error:
            raise ConfigError(
                f"the space holds values that the configuration refuses: {error} (at {values_text(values)}); narrow a "
                f"domain, or add a constraint such as '{K3} >= {K2}' or a `when`"
            ) from None


def default_values(space: SearchSpace, base: Config) -> dict[str, Any]:
    """Returns the base's own values of the searched paths: the first point of every sweep.

    A switch epoch before the trials' first epoch is given as that epoch, which for them is the same.
    """
    tree = config_tree(base)
    values: dict[str, Any] = {}
    for path, domain in space.paths.items():
        value = value_at(tree, path)
        if role_of(path).is_switch and isinstance(domain, Numeric):
            value = max(value, int(domain.low))
        if value is not None:
            values[path] = value
    return values


def from_first_epoch(values: Mapping[str, Any], space: SearchSpace, base: Config) -> dict[str, Any]:
    """Returns a trial's values for a run that begins at epoch 1.

    `default_values` may have moved a switch epoch of the base to the trials' first epoch. For a run from epoch 1 these
    differ, so values that are still there are left out, and the base's own stay.
    """
    tree, defaults = config_tree(base), default_values(space, base)
    moved = {path for path, value in defaults.items() if value != value_at(tree, path)}
    return {path: value for path, value in values.items() if not (path in moved and value == defaults[path])}


def _check_path(path: str) -> None:
    known = setting_paths(Config)
    if path not in known:
        if new := moved_to(path):
            raise ConfigError(f"space: {path} is now {new}")
        raise ConfigError(f"space: unknown path {path}{did_you_mean(path, known)}")
    if not role_of(path).searchable:
        raise ConfigError(f"space: {path} decides how trials are scored or run, so it cannot be searched")


def _domain(path: str, given: CaseConfig, shortest: Config, longest: Config) -> Domain:
    if given.categorical is None and (given.epochs is not None or role_of(path).is_switch):
        low, high = _switch_range(path, given, shortest, longest)
        return Numeric(low, high, integer=True, log=given.log, step=given.step)
    return _free_domain(given)


def _free_domain(given: CaseConfig) -> Domain:
    """The domain as the file has it."""
    if given.categorical is not None:
        return Choice(given.categorical)
    low, high = given.integers or given.floats or (0, 0)
    return Numeric(low, high, integer=given.integers is not None, log=given.log, step=given.step)


def _switch_range(path: str, given: CaseConfig, shortest: Config, longest: Config) -> tuple[int, int]:
    """Epochs of which each does something else; wider limits are an error, since values outside repeat each other.

    Where the number of epochs is searched too, an epoch may have an effect in some trials alone.
    """
    never = longest.num_epochs + 1
    only_united = role_of(path).first_stage == 2 or given.epochs == "united" or shortest.warm_start
    first = shortest.stages.first("united" if only_united else "intra")
    low, high = given.integers or (first, never)
    if low < first or high > never:
        raise ConfigError(
            f"space.{path}: [{low}, {high}] holds epochs without effect; its range here is [{first}, {never}] "
            f"({never} = never){', since trials start from warm_start' if shortest.warm_start else ''}; "
            f"write {{epochs: united}}"
        )
    return low, high


def _tightened(domains: Mapping[str, Domain], constraints: Sequence[Constraint], base: Config) -> dict[str, Domain]:
    """The domains, by name, without the values that no value of the other side allows."""
    tree, tight = config_tree(base), dict(domains)
    # One pass carries a bound over one constraint. In a chain a <= b <= c a bound may have to travel over all of them,
    # against the order of the list, so there are as many passes as constraints.
    for _ in constraints:
        for constraint in constraints:
            greater, smaller = (_end(path, tight, tree) for path in (constraint.greater, constraint.smaller))
            if constraint.greater in tight:
                low = constraint.lowest(smaller.low, integer=greater.integer)
                tight[constraint.greater] = _checked(constraint, greater.from_low(low), low <= greater.high)
            if constraint.smaller in tight:
                high = min(constraint.highest(greater.high, integer=smaller.integer), smaller.high)
                tight[constraint.smaller] = _checked(constraint, replace(smaller, high=high), high >= smaller.low)
    return tight


def _end(path: str, domains: Mapping[str, Domain], tree: Mapping[str, Any]) -> Numeric:
    """One side of a constraint: a searched domain, or the base's fixed number."""
    domain = domains.get(path)
    if domain is None:
        _check_path(path)
        value = value_at(tree, path)
        domain = Numeric(value, value) if isinstance(value, int | float) else None
    if not isinstance(domain, Numeric):
        raise ConfigError(f"constraint on {path}: it is neither a number in the base nor a numeric domain")
    return domain


def _checked(constraint: Constraint, domain: Numeric, possible: bool) -> Numeric:
    if not possible:
        raise ConfigError(f"constraint {constraint} cannot hold with these domains")
    return domain


def _order(
    domains: Mapping[str, Domain], conditions: Mapping[str, Mapping[str, Any]], constraints: Sequence[Constraint]
) -> list[str]:
    """The names in the file's order, but parents and smaller paths first."""
    names: dict[str, list[str]] = {}
    for name in domains:
        names.setdefault(path_of(name), []).append(name)
    before: dict[str, list[str]] = {
        name: [part for parent in conditions.get(name, {}) for part in names[parent]] for name in domains
    }
    for constraint in constraints:
        before[constraint.greater].append(constraint.smaller)
    order: list[str] = []
    while len(order) < len(domains):
        ready = [name for name in domains if name not in order and all(parent in order for parent in before[name])]
        if not ready:
            raise ConfigError("space: conditions and constraints go in a circle")
        order.append(ready[0])
    return order


def _features_part(space: SearchSpace) -> SearchSpace:
    """The paths whose values a trial of the `features` fidelity can tell apart."""
    part = space.only(lambda path: role_of(path).in_features)
    if not part.domains:
        raise ConfigError(
            f"fidelity features searches {UNITED}.* and {INTRA}.* alone, and the space has no such path; use full"
        )
    for name, parents in part.conditions.items():
        for parent in parents:
            if not role_of(parent).in_features:
                raise ConfigError(f"space.{path_of(name)}.when names {parent}, which fidelity features does not search")
    return part
