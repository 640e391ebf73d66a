"""From a sweep's configuration to everything that its trials need, all of it checked before the first."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

from cluster.config import ClusterConfig, load_cluster_config
from cluster.tracking.interface import is_tracked
from ecul.engine.checkpoints import open_run
from ecul.errors import ConfigError
from ecul.files import write_atomically
from ecul.settings import config_tree
from tune.config import SweepConfig, load_sweep, sweep_text
from tune.space.build import base_config, build_space, default_values, original_config
from tune.space.search_space import SearchSpace, Value
from tune.study.store import open_storage, own_trials
from tune.sweep import SWEEP_FILE, Plan
from tune.trials.bank import TuningBank, load_bank
from tune.trials.held_out import check_warm_start

log = logging.getLogger(__name__)
BASE_FILE = "base.yaml"


def make_plan(
    sweep: SweepConfig, folder: Path, *, local: bool, max_hours: float | None = None, concurrency: int | None = None
) -> Plan:
    """Returns the checked plan of a sweep.

    Args:
        sweep: its configuration.
        folder: of the sweep.
        local: whether Ray is started by this command, so that clustering may borrow the workers' processors.
        max_hours: see `Plan`.
        concurrency: see `Plan`.

    Raises:
        EculError: anything that would fail a trial: paths, values, constraints, points, bank, warm start.
    """
    base = base_config(sweep)
    space = build_space(sweep, base)
    is_tracked(sweep.tracker)
    full = sweep.fidelity == "full"
    return Plan(
        sweep=sweep,
        folder=folder,
        space=space,
        base=base,
        points=_points(sweep, space, default_values(space, base), folder.parent),
        bank=None if full else _bank(sweep),
        cluster=_cluster(sweep, local=local) if full else None,
        local=local,
        first_epoch=_first_epoch(sweep) if full else 0,
        max_hours=max_hours,
        concurrency=concurrency,
    )


def write_plan(plan: Plan) -> None:
    """Writes the sweep and its base configuration into its folder, where a resumed sweep and the results find them."""
    base = plan.folder / BASE_FILE
    write_atomically(base, yaml.safe_dump(config_tree(original_config(plan.sweep)), sort_keys=False))
    kept = plan.sweep.model_copy(update={"base": str(base), "set": {}})
    write_atomically(plan.folder / SWEEP_FILE, sweep_text(kept))


def best_values(folder: Path, count: int) -> list[dict[str, Value]]:
    """Returns the values of a finished sweep's best trials by its first objective, best first.

    Raises:
        ConfigError: there is no such sweep, or it has no finished trial.
    """
    path = folder / SWEEP_FILE
    if not path.is_file():
        raise ConfigError(f"full.start_from: no sweep {folder}; run the features sweep first, or take the key out")
    sweep = load_sweep(path)
    study = optuna.load_study(study_name=folder.name, storage=open_storage(folder, sweep.storage, writing=False))
    complete = own_trials(study, (TrialState.COMPLETE,))
    if not complete:
        raise ConfigError(f"full.start_from: sweep {folder} has no finished trial")
    sign = -1 if sweep.targets[0].mode == "max" else 1
    complete.sort(key=lambda trial: sign * trial.values[0])
    distinct: list[dict[str, Value]] = []
    for trial in complete:
        if trial.user_attrs["values"] not in distinct:
            distinct.append(trial.user_attrs["values"])
    return distinct[:count]


def _points(sweep: SweepConfig, space: SearchSpace, default: Mapping[str, Value], sweeps: Path) -> list[dict[str, Any]]:
    """The base itself, the best of a features sweep, and the file's own points; what they leave out is the base's."""
    for point in sweep.points:
        unknown = [path for path in point if path not in sweep.space]
        if unknown:
            raise ConfigError(f"points: {', '.join(unknown)} is not in the space")
    found: list[Mapping[str, Value]] = [{}]
    if sweep.fidelity == "full" and sweep.full.start_from is not None:
        found += best_values(sweeps / sweep.full.start_from, sweep.full.start_points)
    found += sweep.points
    points: list[dict[str, Any]] = []
    for number, extra in enumerate(found):
        point = {path: value for path, value in {**default, **extra}.items() if path in space.domains}
        try:
            space.encode(point)
        except ConfigError as error:
            if number:
                raise
            log.warning("the base configuration lies outside the space (%s), so it is not tried", error)
            continue
        points.append(point)
    return points


def _bank(sweep: SweepConfig) -> TuningBank:
    if sweep.features.bank is None:
        raise ConfigError("fidelity features needs --bank FILE; make one with `python -m tune.features RUN --out FILE`")
    bank = load_bank(Path(sweep.features.bank))
    judged = [target.metric for target in sweep.targets if target.metric.startswith("validation_")]
    if judged and bank.validation is None:
        raise ConfigError(
            f"{sweep.features.bank} has no held-out people, so {', '.join(judged)} cannot be measured; make the "
            "bank from a run with data.hold_out_validation=true, or choose a label-free objective"
        )
    return bank


def _first_epoch(sweep: SweepConfig) -> int:
    if sweep.full.warm_start is None:
        return 0
    check_warm_start(sweep.full.warm_start)
    return int(open_run(sweep.full.warm_start)[1]["epoch"])


def _cluster(sweep: SweepConfig, *, local: bool) -> ClusterConfig:
    cluster = load_cluster_config(sweep.full.cluster)
    return cluster if cluster.clustering.borrow is not None else cluster.updated({"clustering.borrow": local})
