"""The persistent Optuna study of a sweep: its storage, its samplers, and what a killed driver left in it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tune.config import SamplerConfig
from tune.space.search_space import SearchSpace, Value

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_FILES = {"journal": "study.journal", "sqlite": "study.db"}


def open_storage(folder: Path, kind: str, *, writing: bool) -> BaseStorage:
    """Returns the storage in a sweep's folder, made if it is not there yet.

    Args:
        folder: of the sweep.
        kind: `journal` or `sqlite`.
        writing: whether this process alone holds the sweep, so that it may mend what a killed one left.
    """
    path = folder / _FILES[kind]
    if kind == "sqlite":
        return RDBStorage(f"sqlite:///{path}")
    if writing:
        _drop_unfinished_line(path)
    return JournalStorage(JournalFileBackend(str(path)))


def open_study(folder: Path, kind: str, name: str, modes: Sequence[str]) -> optuna.Study:
    """Returns the sweep's study; `modes` are `max` or `min`, one an objective."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=open_storage(folder, kind, writing=True),
        study_name=name,
        directions=[StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE for mode in modes],
        load_if_exists=True,
    )


def make_sampler(options: SamplerConfig, *, num_trials_before: int = 0) -> BaseSampler:
    """Returns the sampler; after a resume it draws other numbers than before it.

    `grid` needs none of its own: all its points are queued (`queue_points`).
    """
    seed = options.seed
    if num_trials_before:
        seed = int(np.random.SeedSequence([seed, num_trials_before]).generate_state(1)[0] % 2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if options.name == "tpe":
            return TPESampler(
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=options.startup,
                seed=seed,
            )
        if options.name == "cmaes":
            return CmaEsSampler(n_startup_trials=options.startup, warn_independent_sampling=False, seed=seed)
        if options.name == "qmc":  # continues its sequence by itself, which needs the seed it began with
            return QMCSampler(seed=options.seed, warn_asynchronous_seeding=False, warn_independent_sampling=False)
        return RandomSampler(seed=seed)


def queue_points(study: optuna.Study, space: SearchSpace, points: Sequence[Mapping[str, Value]]) -> int:
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
    """Puts trials that a dead driver left running back into the queue, under their own keys; returns how many.

    The old entry ends as failed and the new one names it (`resumes`), so that results can leave the old one out.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs={"key": trial_key(trial), "resumes": trial.number})
    return len(running)


def trial_key(trial: FrozenTrial | optuna.Trial) -> str:
    """Name of a trial's run, which stays the same when a resumed sweep takes it up again."""
    return trial.user_attrs.get("key", f"{trial.number:05d}")


def own_trials(study: optuna.Study, states: Sequence[TrialState] = FINISHED) -> list[FrozenTrial]:
    """Returns the trials in the given states, without entries that a later one took up again."""
    trials = study.get_trials(deepcopy=False)
    replaced = {trial.user_attrs["resumes"] for trial in trials if "resumes" in trial.user_attrs}
    return [trial for trial in trials if trial.number not in replaced and trial.state in states]


def finite(values: Sequence[Any]) -> bool:
    """Whether all values are finite numbers."""
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _drop_unfinished_line(path: Path) -> None:
    """Cuts off a last line that a kill left without its end, which the next append would spoil for good."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
