"""What Ray Tune runs for each trial: a clustering of the shared bank, or a whole training."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import ray.tune

from cluster.config import ClusterConfig
from cluster.storage import RunFolder
from ecul.config import Config
from ecul.errors import TrainingError
from tune.bank import TuningBank
from tune.build import trial_config
from tune.objectives import label_free_figures

POLL_SECONDS = 0.5
_VALIDATION = {"validation_map": "map", "validation_rank1": "rank1", "validation_minp": "minp"}


@dataclass(frozen=True)
class FullSettings:
    """What all trials of a `full` sweep share.

    Attributes:
        base: configuration that trials change.
        cluster: how each trial is laid over the cluster.
        storage: folder or URI of the trials' runs, seen by all nodes.
        tracker: experiment tracker of each run.
        metrics: the objectives; an epoch without one of them is not reported.
        first_epoch: the epoch of the warm start, 0 without one.
    """

    base: Config
    cluster: ClusterConfig
    storage: str
    tracker: str
    metrics: tuple[str, ...]
    first_epoch: int = 0


def features_trial(
    parameters: Mapping[str, Any], *, bank: TuningBank, base: Config, intra: bool, num_threads: int
) -> None:
    """Clusters the shared bank with a trial's values and reports the figures.

    Args:
        parameters: `values`, {configuration path: value}, and `key`.
        bank: read-only memory of the object store.
        base: configuration that the values change.
        intra: whether the sweep searches `clustering.intra`.
        num_threads: threads of this trial.
    """
    from tune.scoring import score_bank

    config = trial_config(base, parameters["values"])
    ray.tune.report(_report(score_bank(bank, config, intra=intra, num_threads=num_threads), finished=True))


def full_trial(parameters: Mapping[str, Any], *, settings: FullSettings) -> None:
    """Trains with a trial's values in a Ray Train run, and reports each evaluated epoch.

    A trial of the same key goes on from the run's newest checkpoint and reports the epochs before it again, so that
    the scheduler knows them.

    Args:
        parameters: `values`, {configuration path: value}, and `key`, the run's name.
        settings: what all trials share.

    Raises:
        EculError: what the training raised.
    """
    config = trial_config(settings.base, parameters["values"])
    folder = RunFolder(settings.storage, parameters["key"])
    finished = False
    for record in follow(folder, lambda: _train(config, parameters["key"], settings)):
        epoch = int(record["epoch"])
        figures = full_figures(record)
        if epoch <= settings.first_epoch or not all(name in figures for name in settings.metrics):
            continue
        finished = epoch == config.num_epochs
        trained = {"epoch": epoch, "trained_epochs": epoch - settings.first_epoch}
        ray.tune.report(_report(figures, finished=finished) | trained)
    if not finished:
        raise TrainingError(f"run {parameters['key']}: the last epoch has no {' or '.join(settings.metrics)}")


def full_figures(record: Mapping[str, float]) -> dict[str, float]:
    """Returns the objectives that an epoch's record holds."""
    retrieval = {ours: f"evaluation/{name}" for ours, name in _VALIDATION.items()}
    figures = {ours: record[name] for ours, name in retrieval.items() if name in record}
    united = {name.removeprefix("united/"): value for name, value in record.items() if name.startswith("united/")}
    if "stability" in united:
        figures |= label_free_figures(united)
    if "seconds/cluster" in record:
        figures["clustering_seconds"] = record["seconds/cluster"]
    return figures


def follow(folder: RunFolder, work: Callable[[], Any]) -> Iterator[dict[str, float]]:
    """Does the work in a thread and yields the run's epoch records as they appear, each epoch once, in order.

    Raises:
        EculError: what the work raised.
    """
    last = -1.0
    with ThreadPoolExecutor(1) as pool:
        running: Future[Any] = pool.submit(work)
        done = False
        while not done:
            done = running.done()
            for record in _records(folder):
                if record["epoch"] > last:
                    last = record["epoch"]
                    yield record
            if not done:
                time.sleep(POLL_SECONDS)
        running.result()


def _train(config: Config, name: str, settings: FullSettings) -> None:
    from cluster.trainer import build_trainer, run

    trainer = build_trainer(config, settings.cluster, name=name, storage=settings.storage, tracker=settings.tracker)
    RunFolder(settings.storage, name).drop_broken_snapshot()
    if run(trainer) is None:
        raise TrainingError(f"run {name} ended without a result")


def _records(folder: RunFolder) -> list[dict[str, float]]:
    """The run's records; a last line that is still being written is left out."""
    lines = (folder.read("metrics.jsonl") or b"").decode().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _report(figures: Mapping[str, float], *, finished: bool) -> dict[str, Any]:
    """A Ray Tune result: the objectives under their names, and all figures where `tune.search` looks for them."""
    return {**figures, **{f"figures/{name}": value for name, value in figures.items()}, "finished": finished}
