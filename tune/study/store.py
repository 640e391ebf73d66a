"""The persistent Optuna study of a sweep: its storage, its samplers, and what a killed driver left in it."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ecul.errors import ConfigError
from tune.config import SamplerConfig
from tune.folder import read_sweep
from tune.space.search_space import SearchSpace
from tune.study.record import KEY, RESUMES, TrialRow, trial_key

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_FILES = {"journal": "study.journal", "sqlite": "study.db"}


def open_storage(folder: Path, kind: str, *, writing: bool) -> BaseStorage:
    """Returns the storage in a sweep's folder, made if it is not there yet.

    Args:
        folder: of the sweep.
        kind: `journal` or `sqlite`.
        writing: whether this process alone holds the sweep, so that it may repair what a killed one left.
    """
    # Optuna's lock is a link to the path as it is given here. Of a relative one it could never tell the age.
    path = folder.absolute() / _FILES[kind]
    if kind == "sqlite":
        return RDBStorage(f"sqlite:///{path}")
    if writing:
        _drop_dead_locks(path)
        _drop_unfinished_line(path)
    return JournalStorage(JournalFileBackend(str(path)))


def open_study(folder: Path, kind: str, name: str, modes: Sequence[str]) -> optuna.Study:
    """Returns the sweep's study, made if it is not there yet.

    Args:
        folder: of the sweep, which this process holds alone.
        kind: `journal` or `sqlite`.
        name: of a new study.
        modes: `max` or `min`, one an objective.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(folder, kind, writing=True)
    return optuna.create_study(
        storage=storage,
        study_name=_name_in(storage) or name,
        directions=[StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE for mode in modes],
        load_if_exists=True,
    )


def read_study(folder: Path, kind: str) -> optuna.Study:
    """Returns the study of a sweep that another process may be running; nothing is written.

    Args:
        folder: of the sweep.
        kind: `journal` or `sqlite`.

    Raises:
        ConfigError: it holds no study.
    """
    storage = open_storage(folder, kind, writing=False)
    name = _name_in(storage)
    if name is None:
        raise ConfigError(f"sweep {folder} has no study yet ({_FILES[kind]} is empty or missing)")
    return optuna.load_study(study_name=name, storage=storage)


def make_sampler(options: SamplerConfig, *, num_drawn: int = 0) -> BaseSampler:
    """Returns the sampler.

    Args:
        options: kind, seed and number of random trials. `grid` needs no sampler: all its points are queued.
        num_drawn: see `count_drawn`. A resumed sweep must not draw the same random points again, so the seed depends on
            it.
    """
    seed = options.seed
    if num_drawn:
        seed = int(np.random.SeedSequence([seed, num_drawn]).generate_state(1)[0] % 2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if options.name == "tpe":
            return TPESampler(
                multivariate=True,  # k2 and k3 act together
                group=True,  # paths with a `when` exist in some trials only
                constant_liar=True,  # several trials run at once; keep away from those without a value yet
                n_startup_trials=options.startup,
                seed=seed,
            )
        if options.name == "gp":
            # it says at the first point that it could be faster with another package
            logging.getLogger("optuna._gp").setLevel(logging.ERROR)
            # paths with a `when` are not in its model: they are drawn by what would have drawn them without it
            alone = TPESampler(n_startup_trials=options.startup, seed=seed)
            return GPSampler(
                n_startup_trials=options.startup, independent_sampler=alone, warn_independent_sampling=False, seed=seed
            )
        if options.name == "cmaes":
            return CmaEsSampler(n_startup_trials=options.startup, warn_independent_sampling=False, seed=seed)
        if options.name == "qmc":  # continues its sequence by itself, which needs the seed it began with
            return QMCSampler(seed=options.seed, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        return RandomSampler(seed=seed)


def count_drawn(study: optuna.Study) -> int:
    """Returns how many trials were ever begun. It grows with every trial that may have used random numbers."""
    return sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))


def queue_points(study: optuna.Study, space: SearchSpace, points: Sequence[Mapping[str, Any]]) -> int:
    """Queues points that the study does not have yet, and returns how many were new."""
    known = [trial.system_attrs.get("fixed_params", trial.params) for trial in study.get_trials(deepcopy=False)]
    added = 0
    for point in points:
        parameters = space.encode(point)
        if parameters not in known:
            study.enqueue_trial(parameters)
            known.append(parameters)
            added += 1
    return added


def requeue_interrupted(study: optuna.Study) -> int:
    """Queues the trials that a killed driver left running, under their own keys; returns how many.

    The old entry ends as failed and the new one names it (`resumes`), so that results can leave the old one out.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
        queue_again(study, trial)
    return len(running)


def requeue_failed(study: optuna.Study) -> int:
    """Queues the failed trials again, as `requeue_interrupted` does; returns how many."""
    failed = own_trials(study, (TrialState.FAIL,))
    for trial in failed:
        queue_again(study, trial)
    return len(failed)


def queue_again(study: optuna.Study, trial: optuna.Trial | FrozenTrial, **attributes: Any) -> None:
    """Queues a closed trial's parameters under its key; the new entry replaces the old one in results.

    Args:
        study: of the trial.
        trial: was told already.
        attributes: more user attributes of the new entry.
    """
    study.enqueue_trial(trial.params, user_attrs={KEY: trial_key(trial), RESUMES: trial.number, **attributes})


def own_trials(study: optuna.Study, states: Sequence[TrialState] = FINISHED) -> list[FrozenTrial]:
    """Returns the trials in the given states, without entries that a later trial continues."""
    trials = study.get_trials(deepcopy=False)
    replaced = {trial.user_attrs[RESUMES] for trial in trials if RESUMES in trial.user_attrs}
    return [trial for trial in trials if trial.number not in replaced and trial.state in states]


def ranked_rows(study: optuna.Study) -> list[TrialRow]:
    """Returns the complete trials of a sweep that keep its limits, best first by its first objective."""
    complete = own_trials(study, (TrialState.COMPLETE,))
    sign = -1 if study.directions[0] == StudyDirection.MAXIMIZE else 1
    rows = [TrialRow.of(trial) for trial in sorted(complete, key=lambda trial: sign * trial.values[0])]
    return [row for row in rows if not row.exceeded]


def best_values(folder: Path, count: int) -> list[dict[str, Any]]:
    """Returns the values of a finished sweep's best trials by its first objective, best first, all within its limits.

    Args:
        folder: of the sweep.
        count: how many different points to return at most.

    Raises:
        ConfigError: there is no such sweep, or it has no finished trial within its limits.
    """
    sweep = read_sweep(folder)
    study = read_study(folder, sweep.storage)
    ranked = ranked_rows(study)
    if not ranked:
        within = " within its limits" if own_trials(study, (TrialState.COMPLETE,)) else ""
        raise ConfigError(f"sweep {folder} has no finished trial{within}")
    distinct: list[dict[str, Any]] = []
    for row in ranked:
        values = dict(row.values)
        if values not in distinct:
            distinct.append(values)
    return distinct[:count]


def _name_in(storage: BaseStorage) -> str | None:
    """The name of the storage's study, None without one. A renamed folder's study keeps the name it was made with."""
    names = [study.study_name for study in storage.get_all_studies()]
    return names[0] if names else None


def _drop_dead_locks(path: Path) -> None:
    """Removes the locks that killed writers left: this process holds the sweep, so that nobody else writes."""
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink()


def _drop_unfinished_line(path: Path) -> None:
    """Removes a last line that a kill cut short: the next append would join it, and neither could be read."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
