"""One epoch: embed all images, cluster the embeddings, build the memories, take the steps."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ecul import runtime
from ecul.config import STAGE_NUMBERS, Config
from ecul.data.samplers import BatchPlan, plan_bootstrap, plan_epoch
from ecul.engine.embedding import embed_images
from ecul.engine.loop import optimise
from ecul.engine.memories import Memories
from ecul.engine.memory_start import build_memories, memory_plan
from ecul.engine.optim import learning_rate, set_learning_rate
from ecul.engine.random_keys import plan_key
from ecul.engine.session import Session
from ecul.engine.state import TrainState
from ecul.errors import CheckpointError, TrainingError
from ecul.names import StageName
from ecul.progress import Progress
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, Modality, SampleIndex


def clustering_request(config: Config, stage: StageName, stage_epoch: int) -> ClusteringRequest:
    """Returns the clusterings that an epoch needs; their numbers follow their schedules."""
    clustering = config.clustering
    intra = clustering.intra.at(stage, stage_epoch)
    if stage != "united":
        return ClusteringRequest(intra=intra)
    return ClusteringRequest(
        intra=intra,
        united=clustering.united.at(stage_epoch),
        selection=clustering.selection,
        links=clustering.links,
    )


def moved_numbers(request: ClusteringRequest, config: Config, stage: StageName) -> dict[str, float]:
    """The numbers of an epoch that a schedule moves, by name, such as `schedule/united_eps`."""
    clustering = config.clustering
    intra = getattr(clustering.intra.schedule, stage).moves()
    united = clustering.united.schedule.moves() if request.united is not None else ()
    values = {f"schedule/intra_{name}": float(getattr(request.intra, name)) for name in intra}
    return values | {f"schedule/united_{name}": float(getattr(request.united, name)) for name in united}


OnLabels = Callable[[int, FeatureBank, ClusteringResult], None]


def run_epoch(session: Session, state: TrainState, epoch: int, on_labels: OnLabels | None = None) -> dict[str, float]:
    """Trains one epoch and returns its metrics by name; `state` and the network are changed.

    Args:
        session: of the run.
        state: before the epoch.
        epoch: counted from 1.
        on_labels: gets the epoch, the features and the labels that are trained on, on rank 0.

    Raises:
        TrainingError: a loss that is not finite, or too few clusters and no labels of an earlier epoch.
    """
    stage, stage_epoch = session.config.stages.at(epoch)
    rate = learning_rate(session.config.optim, stage_epoch)
    set_learning_rate(state.optimizer, rate)
    record: dict[str, float] = {"epoch": epoch, "stage": STAGE_NUMBERS[stage], "learning_rate": rate}
    if stage == "bootstrap":
        return record | optimise(session, state, epoch, None, _bootstrap_plans(session, epoch))
    samples, config = session.samples, session.config
    start = time.perf_counter()
    features = embed_images(
        state.model,
        session.store,
        samples,
        device=session.device,
        batch_size=config.evaluation.batch_size,
        autocast=config.runtime.autocast,
    )
    # The only copy to the host, on the rank that clusters; the memories are built from the tensor on the device.
    on_host = features.cpu().numpy() if runtime.is_main() else np.empty((0, 0), np.float32)
    bank = FeatureBank(on_host, samples.modality, samples.camera)
    embedded = time.perf_counter()
    request = clustering_request(config, stage, stage_epoch)
    with Progress("clustering", shown=runtime.is_main()):
        result = runtime.on_main(lambda: session.clustering_fn(bank, request))
    clustered = time.perf_counter()
    record |= dict(result.diagnostics) | moved_numbers(request, config, stage)
    record |= {"seconds/extract": embedded - start, "seconds/cluster": clustered - embedded}
    labels = _usable(result, session, state, epoch)
    if on_labels is not None:
        started = time.perf_counter()
        runtime.on_main(lambda: on_labels(epoch, bank, labels))  # an error there reaches the ranks that wait
        record["seconds/inspect"] = time.perf_counter() - started
    memories = _memories(config, state, features, samples, labels, epoch)
    record |= {"fallbacks": state.fallbacks}
    if memories.blended is not None:
        record |= {"blend/visible_rows": memories.blended[0], "blend/infrared_rows": memories.blended[1]}
    record |= optimise(session, state, epoch, memories, _plans(session, labels, epoch))
    state.instances = memories.instances if _instances_go_on(config) else None
    return record


def _instances_go_on(config: Config) -> bool:
    """Whether the instance memory of an epoch is that of the next one of its stage."""
    return config.memory.instances.filled == "stage"


def _memories(
    config: Config, state: TrainState, features: Tensor, samples: SampleIndex, labels: ClusteringResult, epoch: int
) -> Memories:
    """The memories at the start of an epoch; the instance memory may go on from the epoch before.

    Raises:
        CheckpointError: that of the checkpoint is of other images.
    """
    instances = None
    if state.instances is not None and _instances_go_on(config) and config.stages.at(epoch)[1] > 1:
        if len(state.instances) != len(features):
            raise CheckpointError(
                f"the checkpoint's instance memory is of {len(state.instances)} images, the training set has "
                f"{len(features)}; start from the end of a stage, or with memory.instances.filled=epoch"
            )
        instances = state.instances.to(features.device)
    return build_memories(features, samples.modality, labels, memory_plan(config, epoch), instances=instances)


def _usable(result: ClusteringResult, session: Session, state: TrainState, epoch: int) -> ClusteringResult:
    """Returns the labels to train on, with two fallbacks; each is warned of and counted.

    With fewer than two clusters in a modality, the labels of the last usable epoch are kept. Without a united cluster
    that holds both modalities, the epoch uses the intra-modality loss terms only.
    """
    counts = f"{result.num_visible_clusters} visible, {result.num_infrared_clusters} infrared clusters"
    if min(result.num_visible_clusters, result.num_infrared_clusters) < 2:
        if state.labels is None:
            raise TrainingError(
                f"epoch {epoch}: {counts}; expected at least 2 of each. Raise clustering.intra.eps if all is noise, "
                "lower it if all is one cluster, or start from better weights (model.weights, stages.bootstrap)"
            )
        state.fallbacks += 1
        _warn(session, f"epoch {epoch}: {counts}; the labels of the last usable epoch are kept")
        return state.labels
    if result.united_label is not None and not _has_both_modalities(result.united_label, session.samples.modality):
        state.fallbacks += 1
        _warn(session, f"epoch {epoch}: no united cluster holds both modalities; intra-modality terms only")
        result = replace(result, united_label=None, num_united_clusters=0, selected_pairs=None)
    state.labels = replace(result, diagnostics={})
    return result


def _has_both_modalities(labels: NDArray[np.int32], modality: NDArray[np.int32]) -> bool:
    visible, infrared = (np.unique(labels[(modality == value) & (labels >= 0)]) for value in Modality)
    return len(np.intersect1d(visible, infrared)) > 0


def _warn(session: Session, message: str) -> None:
    if runtime.is_main():
        session.reporter.warn(message)


def _plans(session: Session, labels: ClusteringResult, epoch: int) -> Iterator[BatchPlan]:
    config = session.config
    return plan_epoch(
        labels.intra_label,
        labels.united_label,
        session.samples.modality,
        session.samples.camera,
        iterations=config.stages.iterations,
        batch_size=config.batch.batch_size,
        instances=config.batch.instances,
        united_fraction=config.batch.united_fraction,
        generator=runtime.generator(*plan_key(config.seed, epoch)),
        united_batch=config.batch.united,
    )


def _bootstrap_plans(session: Session, epoch: int) -> Iterator[BatchPlan]:
    config = session.config
    return plan_bootstrap(
        session.samples.modality,
        iterations=config.stages.iterations,
        batch_size=config.batch.batch_size,
        generator=runtime.generator(*plan_key(config.seed, epoch)),
    )
