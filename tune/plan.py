"""From a sweep's configuration to everything that its trials need, all of it checked before the first trial."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from cluster.config import ClusterConfig, load_cluster_config
from cluster.paths import with_absolute_paths
from cluster.storage import resolve_storage
from ecul.config import Config
from ecul.engine.run_directory import METRICS_FILE, read_records, wall_seconds
from ecul.errors import ConfigError
from ecul.files import write_atomically
from ecul.settings import config_tree
from tune.concurrency import borrowing_decided
from tune.config import SweepConfig, sweep_text
from tune.folder import BASE_FILE, SWEEP_FILE
from tune.roles import role_of
from tune.space.build import build_space, check_corners, default_values, with_lengths
from tune.space.search_space import SearchSpace
from tune.study.rungs import NO_EARLIER, Earlier, earlier_sweep, rung_epochs
from tune.study.store import best_values
from tune.text import duration_text
from tune.trials.bank import TuningBank, load_bank
from tune.trials.features import score_bank
from tune.trials.held_out import check_warm_start
from tune.trials.settings import base_config, original_config

log = logging.getLogger(__name__)
_START_SECONDS = 20.0
"""What starting a training's processes costs, roughly; for the estimate alone."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked sweep.

    Attributes:
        sweep: its configuration.
        folder: of the sweep; its name is the sweep's.
        space: of its fidelity.
        original: configuration that the sweep is for, as the user wrote it.
        base: configuration that trials change: the original, validated on held-out people.
        points: tried first, in this order.
        bank: of a `features` sweep.
        cluster: of each training; None where there is none.
        local: whether Ray is started by this command, so that the trials share the machine's cores.
        earlier: what an earlier sweep tells about the rungs.
        first_epoch: epoch that the trials of a `full` sweep begin after.
        most_epochs: number of the last epoch of the longest trial that the space holds.
        deadline: `time.monotonic()` at which it stops; None for never.
        max_concurrency: most trials at once; None for as many as fit.
    """

    sweep: SweepConfig
    folder: Path
    space: SearchSpace
    original: Config
    base: Config
    points: Sequence[Mapping[str, Any]]
    bank: TuningBank | None = None
    cluster: ClusterConfig | None = None
    local: bool = False
    earlier: Earlier = NO_EARLIER
    first_epoch: int = 0
    most_epochs: int = 0
    deadline: float | None = None
    max_concurrency: int | None = None

    @property
    def num_trials(self) -> int:
        """How many trials the sweep has when it is done."""
        return len(self.space.grid()) if self.sweep.sampler.name == "grid" else self.sweep.trials

    @property
    def rungs(self) -> list[int]:
        """Epochs, counted from a trial's first, at which trials of a `full` sweep may be stopped."""
        options = self.sweep.full
        return rung_epochs(options.grace_epochs, options.reduction_factor, self.epochs_per_trial)

    @property
    def epochs_per_trial(self) -> int:
        """Epochs that the longest trial of a `full` sweep trains, if nothing stops it."""
        return self.most_epochs - self.first_epoch


def make_plan(
    sweep: SweepConfig,
    folder: Path,
    *,
    local: bool,
    max_hours: float | None = None,
    max_concurrency: int | None = None,
) -> Plan:
    """Returns the checked plan of a sweep.

    Args:
        sweep: its configuration.
        folder: of the sweep.
        local: whether Ray is started by this command, so that clustering may borrow the workers' processors.
        max_hours: stop so long after now; None for never.
        max_concurrency: see `Plan`.

    Raises:
        EculError: anything that would fail a trial: paths, values, constraints, points, bank, warm start.
    """
    sweep = _resolved(sweep)
    original = with_absolute_paths(original_config(sweep))
    base = base_config(original, warm_start=sweep.full.warm_start)
    if sweep.confirm is not None and original.warm_start is not None:
        check_warm_start(original.warm_start)  # its trainings begin there, and are scored on held-out people
    space = build_space(sweep, base)
    check_corners(space, base)
    full = sweep.fidelity == "full"
    plan = Plan(
        sweep=sweep,
        folder=folder,
        space=space,
        original=original,
        base=base,
        points=_points(sweep, space, default_values(space, base), folder.parent),
        bank=None if full else _bank(sweep),
        cluster=_cluster(sweep, local=local) if full or sweep.confirm else None,
        local=local,
        first_epoch=_first_epoch(base.warm_start) if full else 0,
        most_epochs=with_lengths(sweep.space, base, 1.0).num_epochs,
        deadline=None if max_hours is None else time.monotonic() + max_hours * 3600,
        max_concurrency=max_concurrency,
    )
    return replace(plan, earlier=_earlier(plan)) if full else plan


def write_plan(plan: Plan) -> None:
    """Writes the sweep and its original configuration into its folder, for a resumed sweep and for the results."""
    base = plan.folder / BASE_FILE
    write_atomically(base, yaml.safe_dump(config_tree(plan.original), sort_keys=False))
    stored = plan.sweep.model_copy(update={"base": BASE_FILE, "set": {}})
    write_atomically(plan.folder / SWEEP_FILE, sweep_text(stored))


def estimate_text(plan: Plan, concurrency: int) -> str:
    """Returns one line on how long the sweep will take.

    A `features` trial is timed here; a training is estimated by its warm start's epochs.

    Args:
        plan: the sweep.
        concurrency: trials at once.
    """
    rounds = math.ceil(plan.num_trials / concurrency)
    if plan.bank is not None:
        seconds = _features_seconds(plan, plan.bank)
        return (
            f"about {duration_text(rounds * seconds)}: one clustering of the base configuration takes {seconds:.1f} s "
            f"({len(plan.bank.train)} images)"
        )
    epochs = plan.epochs_per_trial
    seconds = _epoch_seconds(plan.sweep.full.warm_start)
    if seconds is None:
        return f"{epochs} epochs a trial, {rounds} rounds of trials; their length is not known without a warm start"
    shorter = plan.sweep.full.prune or any(role_of(path).is_length for path in plan.space.paths)
    bound = "at most about" if shorter else "about"
    return (
        f"{bound} {duration_text(rounds * (epochs * seconds + _START_SECONDS))}: {epochs} epochs a trial of "
        f"{seconds:.0f} s as in the warm start"
    )


def _resolved(sweep: SweepConfig) -> SweepConfig:
    """Trials run, and a resumed sweep may start, in another working directory."""
    paths = {
        "base": sweep.base,
        "features.bank": sweep.features.bank,
        "full.cluster": sweep.full.cluster,
        "full.warm_start": sweep.full.warm_start,
    }
    return sweep.updated({name: resolve_storage(path) for name, path in paths.items() if path is not None})


def _points(sweep: SweepConfig, space: SearchSpace, default: Mapping[str, Any], sweeps: Path) -> list[dict[str, Any]]:
    """The base itself, the best of a features sweep, and the file's own points; what they leave out is the base's."""
    for point in sweep.points:
        unknown = [path for path in point if path not in sweep.space]
        if unknown:
            raise ConfigError(f"points: {', '.join(unknown)} is not in the space")
    best: list[dict[str, Any]] = []
    if sweep.fidelity == "full" and sweep.full.start_from is not None:
        try:
            best = best_values(sweeps / sweep.full.start_from, sweep.full.start_points)
        except ConfigError as error:
            raise ConfigError(f"full.start_from: {error}") from None

    def completed(point: Mapping[str, Any]) -> dict[str, Any]:
        return {path: value for path, value in {**default, **point}.items() if path in space.paths}

    points = [completed(point) for point in (*best, *sweep.points)]
    for point in points:
        space.encode(point)  # raises for a point outside the space
    try:
        space.encode(completed({}))
    except ConfigError as error:
        log.warning("the base configuration lies outside the space (%s), so it is not tried", error)
        return points
    return [completed({}), *points]


def _bank(sweep: SweepConfig) -> TuningBank:
    if sweep.features.bank is None:
        raise ConfigError("fidelity features needs --bank FILE; make one with `python -m tune.features RUN --out FILE`")
    bank = load_bank(Path(sweep.features.bank))
    validated = [target.metric for target in sweep.targets if target.metric.startswith("validation_")]
    if validated and bank.validation is None:
        raise ConfigError(
            f"{sweep.features.bank} has no held-out people, so {', '.join(validated)} cannot be measured; make the "
            "bank from a run with data.hold_out_validation=true, or choose a label-free objective"
        )
    from_source = [target.metric for target in sweep.targets if target.metric.startswith("source_")]
    if from_source and bank.source is None:
        raise ConfigError(
            f"{sweep.features.bank} has no source people, so {', '.join(from_source)} cannot be measured; make the "
            "bank with --source FOLDER, such as of `ecul synth`"
        )
    return bank


def _earlier(plan: Plan) -> Earlier:
    if (name := plan.sweep.full.rungs_from) is None:
        return NO_EARLIER
    try:
        return earlier_sweep(plan.folder.parent / name, plan.rungs, plan.sweep.targets[0].metric)
    except ConfigError as error:
        raise ConfigError(f"full.rungs_from: {error}") from None


def _first_epoch(warm_start: str | None) -> int:
    if warm_start is None:
        return 0
    from ecul.engine.checkpoints import open_run  # with torch, seconds that a sweep over a saved bank need not wait

    check_warm_start(warm_start)
    _, checkpoint = open_run(warm_start)
    return int(checkpoint["epoch"])


def _cluster(sweep: SweepConfig, *, local: bool) -> ClusterConfig:
    return borrowing_decided(load_cluster_config(sweep.full.cluster), local=local)


def _features_seconds(plan: Plan, bank: TuningBank) -> float:
    """Seconds of a trial on this machine. The second call counts: the first may compile."""
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        features = plan.sweep.features
        score_bank(bank, plan.base, draws=features.draws, intra=False, num_threads=features.cpus_per_trial)
        seconds = time.perf_counter() - start
    return seconds


def _epoch_seconds(warm_start: str | None) -> float | None:
    """Seconds of the warm start's last epoch; None where they are not known."""
    if warm_start is None:
        return None
    path = Path(warm_start)  # a run directory, or a checkpoint inside of one
    run = next((folder for folder in (path, *path.parents) if (folder / METRICS_FILE).is_file()), None)
    records: list[Mapping[str, float]] = [] if run is None else [*read_records(run)]
    # epoch 0 is an evaluation without training
    trained = [record for record in records if record["epoch"]]
    if not trained:
        return None
    return wall_seconds(trained[-1])
