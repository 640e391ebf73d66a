"""Training, from configuration to evaluated weights. Local commands and distributed workers both call `fit`."""

from pathlib import Path
from typing import Any

import numpy as np

from ecul import runtime
from ecul.clustering.diagnostics import label_quality
from ecul.config import Config
from ecul.data.layouts import ReidDataset
from ecul.engine.checkpoints import find_checkpoint, read_checkpoint
from ecul.engine.epoch import run_epoch
from ecul.engine.evaluation import Evaluator
from ecul.engine.facts import run_facts
from ecul.engine.interfaces import CheckpointStore, ClusterFn, FitResult, Reporter
from ecul.engine.optim import build_optimizer
from ecul.engine.session import Session
from ecul.engine.setup import build_network, for_training, image_store, open_data
from ecul.engine.state import TrainState
from ecul.errors import ConfigError


def fit(config: Config, *, cluster_fn: ClusterFn, reporter: Reporter, store: CheckpointStore) -> FitResult:
    """Trains until the last epoch and returns its evaluation; every process of the group calls it alike.

    Args:
        config: all settings.
        cluster_fn: clusters each epoch's features; called on rank 0.
        reporter: is told of each epoch; called on rank 0.
        store: keeps checkpoints, and gives the newest to go on from.

    Raises:
        EculError: bad data or settings, or training that cannot go on.
    """
    dataset = open_data(config)
    session, state = open_session(config, dataset, cluster_fn=cluster_fn, reporter=reporter)
    if (checkpoint := store.load() or _warm_start(config)) is not None:
        state.restore(checkpoint)
    evaluator = Evaluator(config, dataset, session.device)
    if runtime.is_main():
        reporter.start(config, run_facts(config, dataset, session.device), epoch=state.epoch)
    return _train(session, state, evaluator, dataset, store)


def open_session(
    config: Config, dataset: ReidDataset, *, cluster_fn: ClusterFn, reporter: Reporter
) -> tuple[Session, TrainState]:
    """Returns a session and its state before the first epoch; only the images, not the identities, go in."""
    device = runtime.pick_device(config.runtime.device)
    runtime.make_deterministic(config.seed)
    model = build_network(config).to(device)
    session = Session(
        config=config,
        samples=dataset.train.samples,
        store=image_store(config, dataset.train.samples.paths),
        network=for_training(model, config, device),
        device=device,
        cluster_fn=cluster_fn,
        reporter=reporter,
    )
    return session, TrainState(model, build_optimizer(model, config.optim))


def _warm_start(config: Config) -> dict[str, Any] | None:
    """The checkpoint of another run to begin from."""
    if config.warm_start is None:
        return None
    checkpoint = read_checkpoint(find_checkpoint(Path(config.warm_start)))
    first_united = config.stages.bootstrap + config.stages.intra
    if checkpoint["epoch"] > first_united:
        raise ConfigError(
            f"warm_start {config.warm_start} is of epoch {checkpoint['epoch']}, expected at most {first_united} "
            "(stages.bootstrap + stages.intra), so that stage 2 is trained anew"
        )
    return checkpoint


def _train(
    session: Session, state: TrainState, evaluator: Evaluator, dataset: ReidDataset, store: CheckpointStore
) -> FitResult:
    config = session.config
    result: FitResult | None = None
    if state.epoch == 0 and config.evaluation.every:
        before = {"epoch": 0.0, "stage": 0.0} | evaluator.evaluate(state.model)[1]
        if runtime.is_main():
            session.reporter.epoch(before)
    for epoch in range(state.epoch + 1, config.num_epochs + 1):
        record = run_epoch(session, state, epoch)
        state.epoch = epoch
        record |= _reported_quality(state, dataset)
        last = epoch == config.num_epochs
        if last or (config.evaluation.every and epoch % config.evaluation.every == 0):
            retrieval, figures, gallery = evaluator.evaluate(state.model)
            record |= figures
            result = FitResult(epoch, retrieval, record, gallery)
        if runtime.is_main():
            session.reporter.epoch(record)
        store.save(state.checkpoint(config), record)
    if result is None or result.epoch != config.num_epochs:
        retrieval, figures, gallery = evaluator.evaluate(state.model)
        result = FitResult(state.epoch, retrieval, figures, gallery)
    if runtime.is_main():
        session.reporter.finish(result)
    return result


def _reported_quality(state: TrainState, dataset: ReidDataset) -> dict[str, float]:
    """How well the labels match the identities: printed, never used."""
    if state.labels is None or not runtime.is_main():
        return {}
    identity, modality = dataset.train.identity, dataset.train.samples.modality
    figures: dict[str, float] = {}
    for name, value in (("visible", 0), ("infrared", 1)):
        side = modality == value
        quality = label_quality(state.labels.intra_label[side], identity[side], modality[side])
        figures[f"quality/{name}_ari"] = quality["ari"]
    if state.labels.united_label is not None:
        quality = label_quality(state.labels.united_label, identity, modality)
        figures |= {f"quality/united_{name}": quality[name] for name in ("ari", "cross_precision", "cross_recall")}
    if state.labels.selected_pairs is not None and len(state.labels.selected_pairs):
        pairs = state.labels.selected_pairs
        figures["quality/selection_precision"] = float(np.mean(identity[pairs[:, 0]] == identity[pairs[:, 1]]))
    return figures
