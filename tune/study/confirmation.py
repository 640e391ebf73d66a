"""The confirmation of a sweep: its best points and its base, trained to the end with seeds that the search never saw.

Runs with equal seeds see their images in the same order, so they are compared in pairs. What is trained follows from
the study alone, and a run's folder from its whole configuration: a confirmation that is started again after a kill, or
after more trials, takes the complete runs that it still needs, and no run of another configuration.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from ecul.config import Config
from ecul.engine.run_directory import read_records
from ecul.errors import DataError
from ecul.files import write_atomically
from ecul.settings import config_digest, config_tree, updated
from tune.config import ObjectiveConfig, SweepConfig
from tune.objectives import recorded_metrics
from tune.roles import role_of
from tune.space.build import from_first_epoch
from tune.space.search_space import SearchSpace
from tune.study.store import ranked_rows
from tune.trials.grid import RepeatedRun
from tune.trials.repetition import RunsOnDisk
from tune.trials.settings import trial_config

CONFIRM_FILE = "confirm.json"
"""In the sweep's folder: what is confirmed, by which runs. They lie in the folder `confirm`."""
BASE = "base"
_STAGE_ONE = "stage1"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A point of the search that may beat the base.

    Attributes:
        trial: its number in the study.
        values: {path: value}, for a run that begins at epoch 1.
    """

    trial: int
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of its runs."""
        return f"trial{self.trial}"


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What a confirmation compares, and what its complete runs scored.

    Attributes:
        metric: that is compared.
        mode: `max` or `min`.
        seeds: of the runs.
        top: most candidates.
        candidates: best of the search first.
        keys: {`base` or a candidate's name: {seed: key of its run}}.
        scores: {the same name: {seed: metric after the last epoch}} of the complete runs.
        failed: {key: error} of the runs that failed.
    """

    metric: str
    mode: str
    seeds: Sequence[int]
    top: int
    candidates: Sequence[Candidate]
    keys: Mapping[str, Mapping[int, str]]
    scores: Mapping[str, Mapping[int, float]]
    failed: Mapping[str, str]

    @property
    def num_runs(self) -> int:
        """Runs that it has when it is done; none without a candidate."""
        return len(self.keys) * len(self.seeds)

    @property
    def num_complete(self) -> int:
        """Runs that were trained to their end."""
        return sum(map(len, self.scores.values()))

    @property
    def num_open(self) -> int:
        """Runs that are neither complete nor failed."""
        return sum(
            seed not in self.scores[name] and key not in self.failed
            for name, keys in self.keys.items()
            for seed, key in keys.items()
        )


def confirmed_metric(sweep: SweepConfig) -> ObjectiveConfig:
    """Returns what full trainings are compared by: the first of `objectives.full`, else `validation_map`."""
    targets = sweep.objectives.get("full")
    return targets[0] if targets else ObjectiveConfig(metric="validation_map")


def disk_of(folder: Path) -> RunsOnDisk:
    """Returns where a sweep's confirmation runs are kept."""
    return RunsOnDisk(folder / "confirm", folder / "confirm-failed.json")


def choose_candidates(study: optuna.Study, space: SearchSpace, base: Config, *, top: int) -> list[Candidate]:
    """Returns the best points of a study that keep its limits and differ from the base and each other, best first.

    Args:
        study: of the sweep.
        space: of the sweep.
        base: configuration that its trials change.
        top: most of them.
    """
    known = {config_digest(base)}
    chosen: list[Candidate] = []
    for row in ranked_rows(study):
        values = {path: value for path, value in from_first_epoch(row.values, space, base).items() if path != "seed"}
        digest = config_digest(trial_config(base, values))
        if digest not in known:
            known.add(digest)
            chosen.append(Candidate(trial=row.number, values=values))
    return chosen[:top]


def fresh_seeds(base: Config, count: int) -> list[int]:
    """Returns seeds that no trial used: those after the base's."""
    return [base.seed + 1 + number for number in range(count)]


def make_runs(
    candidates: Sequence[Candidate], original: Config, base: Config, seeds: Sequence[int], folder: Path
) -> tuple[list[RepeatedRun], list[RepeatedRun]]:
    """Returns the runs of stage 1 that others begin from, and the runs that are compared, seed by seed.

    All runs train from epoch 1, or from the original's own `warm_start`; a warm start of the sweep alone is not used,
    since `best.yaml` will not use it. Where all of them do the same before stage 2, it is trained once a seed.

    Args:
        candidates: to compare with the base.
        original: configuration that the sweep is for.
        base: configuration that the trials change.
        seeds: of the runs.
        folder: of the runs.
    """
    variants: dict[str, Mapping[str, Any]] = {BASE: {}, **{item.name: item.values for item in candidates}}
    shared = _share_stage_one(candidates, original, base)
    starts: list[RepeatedRun] = []
    runs: list[RepeatedRun] = []
    for seed in seeds:
        own_start = {"seed": seed, "warm_start": original.warm_start}
        warm_start, start_key = original.warm_start, original.warm_start
        if shared:
            starts.append(_run(_STAGE_ONE, seed, trial_config(base, {**own_start, "stages.united": 0}), start_key))
            start_key = starts[-1].key
            warm_start = str(folder / start_key)
        for name, values in variants.items():
            config = trial_config(base, {**values, "seed": seed, "warm_start": warm_start})
            runs.append(_run(name, seed, config, start_key))
    return starts, runs


def write_confirmation(
    folder: Path, candidates: Sequence[Candidate], runs: Sequence[RepeatedRun], *, target: ObjectiveConfig, top: int
) -> None:
    """Writes down what is confirmed, by which runs.

    Args:
        folder: of the sweep.
        candidates: best of the search first.
        runs: of `make_runs`.
        target: what is compared.
        top: most candidates that were asked for.
    """
    keys: dict[str, dict[int, str]] = {}
    for run in runs:
        keys.setdefault(run.variant, {})[run.values["seed"]] = run.key
    tree = {
        "metric": target.metric,
        "mode": target.mode,
        "seeds": sorted({run.values["seed"] for run in runs}),
        "top": top,
        "candidates": [{"trial": item.trial, "values": dict(item.values)} for item in candidates],
        "keys": keys,
    }
    write_atomically(folder / CONFIRM_FILE, json.dumps(tree, indent=1) + "\n")


def read_confirmation(folder: Path) -> Confirmation | None:
    """Returns the confirmation in a sweep's folder; None where none was begun.

    Raises:
        DataError: its file is damaged.
    """
    path = folder / CONFIRM_FILE
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text())
        keys = {name: {int(seed): key for seed, key in runs.items()} for name, runs in tree["keys"].items()}
        candidates = [Candidate(trial=item["trial"], values=item["values"]) for item in tree["candidates"]]
        metric, mode, seeds, top = tree["metric"], tree["mode"], tree["seeds"], tree["top"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); remove it, then confirm the sweep again") from None
    disk = disk_of(folder)
    return Confirmation(
        metric=metric,
        mode=mode,
        seeds=seeds,
        top=top,
        candidates=candidates,
        keys=keys,
        scores={
            name: {seed: _score(disk, key, metric) for seed, key in runs.items() if disk.is_complete(key)}
            for name, runs in keys.items()
        },
        failed=disk.failures(),
    )


def _score(disk: RunsOnDisk, key: str, metric: str) -> float:
    """A complete run's metric after its last epoch, which every run evaluates."""
    metrics = recorded_metrics(read_records(disk.folder / key)[-1])
    if metric not in metrics:
        raise DataError(f"run {disk.folder / key}: its last epoch has no {metric}; choose another objectives.full")
    return metrics[metric]


def _share_stage_one(candidates: Sequence[Candidate], original: Config, base: Config) -> bool:
    """Whether all runs of a seed do the same before stage 2."""
    if original.warm_start is not None or not base.stages.united or base.stages.first("united") == 1:
        return False
    before = _leaves(config_tree(base))
    for item in candidates:
        own = _leaves(config_tree(trial_config(base, item.values)))
        changed = [path for path in {**before, **own} if own.get(path) != before.get(path)]
        if not all(map(acts_only_in_stage_two, changed)):
            return False
    return True


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{dotted path: value} of a configuration tree."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def acts_only_in_stage_two(path: str) -> bool:
    """Returns whether a setting changes nothing before stage 2."""
    return role_of(path).first_stage == 2


def _run(variant: str, seed: int, config: Config, start: str | None) -> RepeatedRun:
    # The key of the start, not its path: a sweep that was moved still knows its runs.
    digest = config_digest(updated(config, {"warm_start": start}))
    return RepeatedRun(
        key=f"confirm-{variant}-seed{seed}-{digest}", variant=variant, values={"seed": seed}, config=config
    )
