"""Training, from configuration to evaluated weights. Local commands and distributed workers both call `fit`."""

from typing import Any

import numpy as np

from ecul import runtime
from ecul.config import Config
from ecul.data.dataset import ReidDataset
from ecul.engine.checkpoints import open_run
from ecul.engine.epoch import run_epoch
from ecul.engine.evaluator import Evaluation, Evaluator
from ecul.engine.inspection_file import Inspector
from ecul.engine.interfaces import CheckpointStore, ClusteringFn, FitResult, Record, Reporter
from ecul.engine.oracle import with_true_labels
from ecul.engine.pictures import draw_pictures
from ecul.engine.provenance import provenance
from ecul.engine.session import Session, open_data, open_session
from ecul.engine.state import TrainState
from ecul.errors import ConfigError
from ecul.evaluation.cluster_quality import label_quality
from ecul.evaluation.evaluate import tie_warnings


def fit(config: Config, *, clustering_fn: ClusteringFn, reporter: Reporter, store: CheckpointStore) -> FitResult:
    """Trains until the last epoch and returns its evaluation; every process of the group calls it alike.

    Args:
        config: all settings.
        clustering_fn: clusters each epoch's features; called on rank 0.
        reporter: receives the progress; called on rank 0.
        store: keeps checkpoints; training continues from its newest one.

    Raises:
        EculError: bad data or settings, or a training that cannot continue.
    """
    dataset = open_data(config)
    if config.oracle is not None:
        clustering_fn = with_true_labels(clustering_fn, config.oracle, dataset.train)
    session, state = open_session(config, dataset, clustering_fn=clustering_fn, reporter=reporter)
    if (checkpoint := store.load() or _warm_start(config)) is not None:
        state.restore(checkpoint)
    evaluator = Evaluator(config, dataset, session.device)
    records: list[Record] = []
    if runtime.is_main():
        records += reporter.history(state.epoch) if state.epoch else []
        reporter.start(config, provenance(config, dataset, session.device), epoch=state.epoch, history=records)
    result = _train(session, state, evaluator, dataset, store, records)
    if runtime.is_main():
        reporter.finish(result)
        if config.runtime.report:
            for name, content in draw_pictures(records, result.gallery).items():
                reporter.picture(name, content)
    return result


def _warm_start(config: Config) -> dict[str, Any] | None:
    """Returns the checkpoint of another run to begin from, if one is configured."""
    if config.warm_start is None:
        return None
    source, checkpoint = open_run(config.warm_start)
    if source.oracle is not None and config.oracle is None:
        raise ConfigError(
            f"warm_start {config.warm_start} trained on true labels (oracle={source.oracle}); begin from another run"
        )
    before_united = config.stages.first("united") - 1
    if checkpoint["epoch"] > before_united:
        raise ConfigError(
            f"warm_start {config.warm_start} is of epoch {checkpoint['epoch']}, expected at most {before_united} "
            "(the epochs before stages.united), so that all of stage 2 is trained"
        )
    return checkpoint


def _train(
    session: Session,
    state: TrainState,
    evaluator: Evaluator,
    dataset: ReidDataset,
    store: CheckpointStore,
    records: list[Record],
) -> FitResult:
    """Trains the epochs that are left, adds their records to `records` and returns the last one's evaluation."""
    config = session.config
    told = {} if config.oracle is None else {f"oracle/{config.oracle}": 1.0}

    def report(record: Record) -> None:
        record = {**record, **told}
        records.append(record)
        if runtime.is_main():
            session.reporter.epoch(record)

    def evaluate() -> Evaluation:
        evaluation = evaluator.evaluate(state.model)
        for message in tie_warnings(evaluation[0]):
            session.reporter.warn(message)
        return evaluation

    result: FitResult | None = None
    inspector = Inspector(dataset, session.reporter) if config.runtime.report else None
    if state.epoch == 0 and config.evaluation.every:
        report({"epoch": 0.0, "stage": 0.0} | evaluate()[1])
    for epoch in range(state.epoch + 1, config.num_epochs + 1):
        evaluated = epoch == config.num_epochs or (config.evaluation.every and epoch % config.evaluation.every == 0)
        looked_at = inspector if evaluated else None
        record = run_epoch(session, state, epoch, looked_at and looked_at.clustered)
        state.epoch = epoch
        record |= _reported_quality(state, dataset)
        if evaluated:
            retrieval, metrics, gallery = evaluate()
            record |= metrics
            if looked_at is not None:
                looked_at.evaluated(gallery)
            result = FitResult(epoch=epoch, retrieval=retrieval, record=record, gallery=gallery)
        report(record)
        store.save(state.checkpoint(config), record)
    if result is None or result.epoch != config.num_epochs:
        # A run that was stopped after its last epoch has nothing left to train.
        retrieval, metrics, gallery = evaluate()
        result = FitResult(epoch=state.epoch, retrieval=retrieval, record=metrics, gallery=gallery)
    return result


def _reported_quality(state: TrainState, dataset: ReidDataset) -> dict[str, float]:
    """Returns how well the labels match the identities; for the reader only, the training never uses it."""
    if state.labels is None or not runtime.is_main():
        return {}
    identity, modality = dataset.train.identity, dataset.train.samples.modality
    metrics: dict[str, float] = {}
    for name, value in (("visible", 0), ("infrared", 1)):
        side = modality == value
        quality = label_quality(state.labels.intra_label[side], identity[side], modality[side])
        metrics[f"quality/{name}_ari"] = quality["ari"]
    if state.labels.united_label is not None:
        quality = label_quality(state.labels.united_label, identity, modality)
        metrics |= {f"quality/united_{name}": quality[name] for name in ("ari", "cross_precision", "cross_recall")}
    if state.labels.selected_pairs is not None and len(state.labels.selected_pairs):
        pairs = state.labels.selected_pairs
        metrics["quality/selection_precision"] = float(np.mean(identity[pairs[:, 0]] == identity[pairs[:, 1]]))
    return metrics
