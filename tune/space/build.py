"""From a sweep's configuration to a checked search space and to the trials' configurations."""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from ecul.config import PRESET_DEFAULTS, Config
from ecul.errors import ConfigError
from ecul.schema import merge, setting_paths
from ecul.settings import config_tree, load_config, parse_config, updated
from tune.config import DomainConfig, SweepConfig
from tune.space.search_space import Choice, Constraint, Domain, Numeric, SearchSpace, Value

FIXED = ("data.root", "data.layout", "data.trial", "data.hold_out_validation", "evaluation.", "warm_start", "runtime.")
NOT_IN_FEATURES = ("clustering.eps_start", "clustering.eps_ramp_epochs", "clustering.selection.")
SWITCH = ".switch_epoch"
_PRESET_PARAMETERS = sorted({name for defaults in PRESET_DEFAULTS.values() for name in defaults})


def original_config(sweep: SweepConfig) -> Config:
    """Returns the configuration that the sweep is for, as its file and `set` have it.

    Raises:
        ConfigError: it cannot be used.
    """
    return load_config(sweep.base, [f"{path}={yaml.safe_dump(value)}" for path, value in sweep.set.items()])


def base_config(sweep: SweepConfig) -> Config:
    """Returns the configuration that trials change; it always validates on held-out training identities.

    Raises:
        ConfigError: it cannot be used.
    """
    config = original_config(sweep)
    changes: dict[str, Any] = {"data.hold_out_validation": True, "evaluation.split": "validation"}
    if sweep.full.warm_start is not None:
        changes["warm_start"] = sweep.full.warm_start
    return updated(config, changes)


def trial_config(base: Config, values: Mapping[str, Value]) -> Config:
    """Returns the base with a trial's values; a changed clustering preset brings its own defaults.

    Raises:
        ConfigError: the values do not make a valid configuration.
    """
    return parse_config(trial_tree(base, values))


def trial_tree(base: Config, values: Mapping[str, Value]) -> dict[str, Any]:
    """Returns the same as plain data, unchecked."""
    tree = merge(config_tree(base), {})
    for prefix, node, present in (
        ("clustering.", tree["clustering"], base.clustering.preset),
        ("clustering.intra.", tree["clustering"]["intra"], base.clustering.intra.preset),
    ):
        if values.get(f"{prefix}preset", present) != present:
            for name in _PRESET_PARAMETERS:
                node.pop(name, None)
    return merge(tree, values)


def build_space(sweep: SweepConfig, base: Config) -> SearchSpace:
    """Returns the space of the sweep's fidelity, every corner of it tried against the configuration's own checks.

    Raises:
        ConfigError: an unknown or fixed path, a constraint that cannot hold, or values the configuration refuses.
    """
    for path in sweep.space:
        _check_path(path)
    conditions = {path: dict(domain.when) for path, domain in sweep.space.items() if domain.when}
    for path, parents in conditions.items():
        for parent in parents:
            if parent not in sweep.space:
                raise ConfigError(f"space.{path}.when names {parent}, which is not in the space")
    domains = {path: _domain(path, domain, base) for path, domain in sweep.space.items()}
    constraints = [Constraint.parse(text) for text in sweep.constraints]
    domains, kept = _tighten(domains, constraints, base)
    order = _order(domains, conditions, kept)
    space = SearchSpace({path: domains[path] for path in order}, conditions, tuple(kept))
    if sweep.fidelity == "features":
        space = _clustering_part(space)
    _try_corners(space, base)
    return space


def touched_by_clustering(path: str) -> bool:
    """Whether a feature bank can tell values of the path apart."""
    return path.startswith("clustering.") and not path.startswith(NOT_IN_FEATURES)


def default_values(space: SearchSpace, base: Config) -> dict[str, Value]:
    """Returns the base's own values of the searched paths: the first point of every sweep.

    A switch epoch before the trials' first epoch is given as that epoch, which for them is the same.
    """
    tree = config_tree(base)
    found: dict[str, Value] = {}
    for path, domain in space.domains.items():
        value = _lookup(tree, path)
        if path.endswith(SWITCH) and isinstance(domain, Numeric):
            value = max(value, int(domain.low))
        if value is not None:
            found[path] = value
    return found


def from_first_epoch(values: Mapping[str, Value], space: SearchSpace, base: Config) -> dict[str, Value]:
    """Returns values for a run that begins at epoch 1: where `default_values` moved the base's, they are left out."""
    tree = config_tree(base)
    moved = {path for path, value in default_values(space, base).items() if value != _lookup(tree, path)}
    return {
        path: value
        for path, value in values.items()
        if not (path in moved and value == default_values(space, base)[path])
    }


def _check_path(path: str) -> None:
    known = setting_paths(Config)
    if path not in known:
        near = difflib.get_close_matches(path, known, n=1)
        raise ConfigError(f"space: unknown path {path}" + (f"; did you mean {near[0]}?" if near else ""))
    if path.startswith(FIXED):
        raise ConfigError(f"space: {path} decides how trials are judged or run, so it cannot be searched")


def _domain(path: str, given: DomainConfig, base: Config) -> Domain:
    if given.categorical is not None:
        return Choice(given.categorical)
    if given.epochs is not None or path.endswith(SWITCH):
        low, high = _switch_range(path, given, base)
        return Numeric(low, high, integer=True, log=given.log, step=given.step)
    low, high = given.integers or given.floats or (0, 0)
    return Numeric(low, high, integer=given.integers is not None, log=given.log, step=given.step)


def _switch_range(path: str, given: DomainConfig, base: Config) -> tuple[int, int]:
    """Epochs of which each does something else; wider limits are an error, since values outside repeat each other."""
    never = base.num_epochs + 1
    united = base.stages.bootstrap + base.stages.intra + 1
    first = united if "united" in path or given.epochs == "united" or base.warm_start else base.stages.bootstrap + 1
    low, high = (first, never) if given.integers is None else given.integers
    if low < first or high > never:
        raise ConfigError(
            f"space.{path}: [{low}, {high}] holds epochs without effect; its range here is [{first}, {never}] "
            f"({never} = never){', since trials start from warm_start' if base.warm_start else ''}; "
            f"write {{epochs: united}}"
        )
    return low, high


def _tighten(
    domains: dict[str, Domain], constraints: list[Constraint], base: Config
) -> tuple[dict[str, Domain], list[Constraint]]:
    """Cuts off what no partner allows, and keeps the constraints between two searched paths."""
    tree, kept = config_tree(base), []
    for constraint in constraints * (len(constraints) + 1):
        greater, smaller = (_end(path, domains, tree) for path in (constraint.greater, constraint.smaller))
        if constraint.greater in domains:
            low = constraint.lowest(smaller.low, integer=greater.integer)
            domains[constraint.greater] = _checked(constraint, greater.from_low(low), low <= greater.high)
        if constraint.smaller in domains:
            high = min(constraint.highest(greater.high, integer=smaller.integer), smaller.high)
            domains[constraint.smaller] = _checked(constraint, replace(smaller, high=high), high >= smaller.low)
        if constraint.greater in domains and constraint.smaller in domains and constraint not in kept:
            kept.append(constraint)
    return domains, kept


def _end(path: str, domains: Mapping[str, Domain], tree: Mapping[str, Any]) -> Numeric:
    """One side of a constraint: a searched domain, or the base's fixed number."""
    domain = domains.get(path)
    if domain is None:
        _check_path(path)
        value = _lookup(tree, path)
        domain = Numeric(value, value) if isinstance(value, int | float) else None
    if not isinstance(domain, Numeric):
        raise ConfigError(f"constraint on {path}: it is neither a number in the base nor a numeric domain")
    return domain


def _checked(constraint: Constraint, domain: Numeric, possible: bool) -> Numeric:
    if not possible:
        sign = ">" if constraint.strict else ">="
        raise ConfigError(f"constraint {constraint.greater} {sign} {constraint.smaller} cannot hold with these domains")
    return domain


def _order(
    domains: Mapping[str, Domain], conditions: Mapping[str, Mapping[str, Any]], constraints: list[Constraint]
) -> list[str]:
    """The paths in the file's order, but parents and smaller paths first."""
    before: dict[str, list[str]] = {path: list(conditions.get(path, {})) for path in domains}
    for constraint in constraints:
        before[constraint.greater].append(constraint.smaller)
    order: list[str] = []
    while len(order) < len(domains):
        ready = [path for path in domains if path not in order and all(parent in order for parent in before[path])]
        if not ready:
            raise ConfigError("space: conditions and constraints go in a circle")
        order.append(ready[0])
    return order


def _clustering_part(space: SearchSpace) -> SearchSpace:
    part = space.only(touched_by_clustering)
    if not part.domains:
        raise ConfigError("fidelity features searches clustering.* alone, and the space has no such path; use full")
    for path, parents in part.conditions.items():
        for parent in parents:
            if not touched_by_clustering(parent):
                raise ConfigError(f"space.{path}.when names {parent}, which fidelity features does not search")
    return part


def _try_corners(space: SearchSpace, base: Config) -> None:
    for values in space.corners():
        try:
            trial_config(base, values)
        except ConfigError as error:
            shown = ", ".join(f"{path}={value}" for path, value in values.items())
            raise ConfigError(
                f"the space holds values that the configuration refuses: {error} (at {shown}); narrow a domain, or add "
                "a constraint such as 'clustering.k3 >= clustering.k2' or a `when`"
            ) from None


def _lookup(tree: Mapping[str, Any], path: str) -> Value:
    node: Any = tree
    for name in path.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
