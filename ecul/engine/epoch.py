"""One epoch: embed, cluster, build memories, optimise."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecul import runtime
from ecul.config import Config, TwoStepConfig
from ecul.data.dataset import ImageStore
from ecul.data.loaders import load_batches, local_slice
from ecul.data.samplers import BatchPlan, plan_bootstrap, plan_epoch
from ecul.data.transforms import augment, draw_augmentation, normalise
from ecul.engine.interfaces import ClusterFn, Reporter
from ecul.engine.optim import learning_rate, set_learning_rate
from ecul.engine.state import TrainState
from ecul.engine.step import Memories, StepBatch, compute_loss, update_memories
from ecul.errors import TrainingError
from ecul.features.extract import extract
from ecul.losses.contrastive import nt_xent
from ecul.memory.bank import cluster_means, united_means
from ecul.memory.schedule import TwoStepSchedule
from ecul.models.backbone import DualStream, freeze_batch_norm
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, Modality, SampleIndex

log = logging.getLogger(__name__)
_VIEWS = ("visible", "visible_second", "infrared", "infrared_second")
_PLAN_KEY, _MEMORY_KEY = 100, 101


@dataclass(frozen=True)
class Session:
    """What stays the same during a run.

    Attributes:
        samples: training images, without identities.
        network: the model as it is called in training (compiled, distributed), sharing `TrainState.model`'s weights.
    """

    config: Config
    samples: SampleIndex
    store: ImageStore
    network: nn.Module
    device: torch.device
    cluster_fn: ClusterFn
    reporter: Reporter


def stage_of(config: Config, epoch: int) -> tuple[int, int]:
    """Stage (0, 1 or 2) of an epoch and the epoch's number within it, both epochs counted from 1."""
    stages = config.stages
    if epoch <= stages.bootstrap:
        return 0, epoch
    if epoch <= stages.bootstrap + stages.intra:
        return 1, epoch - stages.bootstrap
    return 2, epoch - stages.bootstrap - stages.intra


def embed_images(
    model: DualStream, store: ImageStore, samples: SampleIndex, *, device: torch.device, batch_size: int, autocast: bool
) -> NDArray[np.float32]:
    """Returns unit embeddings float32 (N, D) in index order; every rank does its share and gets all of them."""
    num_images = len(samples)
    share = -(-num_images // runtime.world_size())
    positions = np.arange(num_images)[runtime.rank() * share : (runtime.rank() + 1) * share]
    model.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast and device.type == "cuda"):
        features = extract(
            model.embed,
            lambda wanted: normalise(store.get(wanted).to(device)),
            samples.modality,
            positions,
            batch_size=batch_size,
        )
    if not len(positions):
        features = np.empty((0, model.embedding_dim), np.float32)
    return runtime.gather_arrays(features, device=device)


def clustering_request(config: Config, stage: int, stage_epoch: int) -> ClusteringRequest:
    """Returns what an epoch asks of the clustering; eps follows its curriculum."""
    clustering = config.clustering
    intra = clustering.intra.parameters()
    if stage < 2:
        return ClusteringRequest(intra)
    united = clustering.parameters(eps=clustering.eps_at(stage_epoch))
    return ClusteringRequest(intra, united, clustering.selection.parameters())


def run_epoch(session: Session, state: TrainState, epoch: int) -> dict[str, float]:
    """Trains one epoch and returns its numbers by name; `state` and the network move on.

    Raises:
        TrainingError: a non-finite loss, or no clusters and none from before.
    """
    stage, stage_epoch = stage_of(session.config, epoch)
    rate = learning_rate(session.config.optim, stage_epoch)
    set_learning_rate(state.optimizer, rate)
    record: dict[str, float] = {"epoch": epoch, "stage": stage, "learning_rate": rate}
    if stage == 0:
        return record | _optimise(session, state, epoch, None, _bootstrap_plans(session, epoch))
    start = time.perf_counter()
    bank = embed_bank(session, state.model)
    embedded = time.perf_counter()
    request = clustering_request(session.config, stage, stage_epoch)
    found = runtime.on_main(lambda: session.cluster_fn(bank, request))
    clustered = time.perf_counter()
    record |= dict(found.diagnostics)
    record |= {"seconds/extract": embedded - start, "seconds/cluster": clustered - embedded}
    labels = _usable(found, session, state, epoch)
    memories = build_memories(bank, labels, session.device)
    record |= {"fallbacks": state.fallbacks}
    return record | _optimise(session, state, epoch, memories, _plans(session, labels, epoch))


def embed_bank(session: Session, model: DualStream) -> FeatureBank:
    """Returns the embeddings of all training images."""
    config = session.config
    features = embed_images(
        model,
        session.store,
        session.samples,
        device=session.device,
        batch_size=config.evaluation.batch_size,
        autocast=config.runtime.autocast,
    )
    return FeatureBank(features, session.samples.modality, session.samples.camera)


def _usable(found: ClusteringResult, session: Session, state: TrainState, epoch: int) -> ClusteringResult:
    """The fallbacks: without two clusters in each modality the last labels stay; without a united cluster that
    holds both modalities the epoch has intra-modality terms only. Both are warned of and counted.
    """  # noqa: D205
    counts = f"{found.num_visible_clusters} visible, {found.num_infrared_clusters} infrared clusters"
    if min(found.num_visible_clusters, found.num_infrared_clusters) < 2:
        if state.labels is None:
            raise TrainingError(
                f"epoch {epoch}: {counts}; expected at least 2 of each. Raise clustering.intra.eps if all is noise, "
                "lower it if all is one cluster, or start from better weights (model.weights, stages.bootstrap)"
            )
        state.fallbacks += 1
        _warn(session, f"epoch {epoch}: {counts}; the labels of the last usable epoch are kept")
        return state.labels
    if found.united_label is not None and not _has_both_modalities(found.united_label, session.samples.modality):
        state.fallbacks += 1
        _warn(session, f"epoch {epoch}: no united cluster holds both modalities; intra-modality terms only")
        found = replace(found, united_label=None, num_united_clusters=0, selected_pairs=None)
    state.labels = replace(found, diagnostics={})
    return found


def _has_both_modalities(labels: NDArray[np.int32], modality: NDArray[np.int32]) -> bool:
    visible, infrared = (np.unique(labels[(modality == value) & (labels >= 0)]) for value in Modality)
    return len(np.intersect1d(visible, infrared)) > 0


def _warn(session: Session, message: str) -> None:
    if runtime.is_main():
        session.reporter.warn(message)


def build_memories(bank: FeatureBank, labels: ClusteringResult, device: torch.device) -> Memories:
    """Returns the memories at the start of an epoch: normalised cluster means (method section 5)."""
    features = torch.from_numpy(np.array(bank.features)).to(device)
    modality = torch.from_numpy(bank.modality.astype(np.int64)).to(device)
    intra = torch.from_numpy(labels.intra_label.astype(np.int64)).to(device)
    sides = (modality == Modality.VISIBLE, modality == Modality.INFRARED)
    visible, infrared = (
        cluster_means(features[side], intra[side], num_clusters=count)
        for side, count in zip(sides, (labels.num_visible_clusters, labels.num_infrared_clusters), strict=True)
    )
    united, positives = None, None
    united_label = torch.full_like(intra, -1)
    if labels.united_label is not None:
        united_label = torch.from_numpy(labels.united_label.astype(np.int64)).to(device)
        united = united_means(features, united_label, modality, num_clusters=labels.num_united_clusters)
    if labels.selected_pairs is not None and len(labels.selected_pairs):
        positives = torch.from_numpy(_positive_table(labels.selected_pairs, len(bank))).to(device)
    bank_rows = features if positives is not None else None
    return Memories(visible, infrared, united, bank_rows, positives, modality, intra, united_label)


def _positive_table(pairs: NDArray[np.int32], num_images: int) -> NDArray[np.int64]:
    """(N, M) selected images of each image, in both directions, -1 padded; M is the most that any image has."""
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    counts = np.bincount(both[:, 0], minlength=num_images)
    column = np.arange(len(both)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((num_images, counts.max()), -1, np.int64)
    table[both[:, 0], column] = both[:, 1]
    return table


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
        generator=runtime.generator(config.seed, epoch, _PLAN_KEY),
    )


def _bootstrap_plans(session: Session, epoch: int) -> Iterator[BatchPlan]:
    config = session.config
    return plan_bootstrap(
        session.samples.modality,
        iterations=config.stages.iterations,
        batch_size=config.batch.batch_size,
        generator=runtime.generator(config.seed, epoch, _PLAN_KEY),
    )


def _views(session: Session, images: Tensor, names: tuple[str, ...], key: tuple[int, ...], part: slice) -> Tensor:
    """Augmented views of this rank's images, one view after the other."""
    data = session.config.data
    second = "exchange" if data.channel_exchange else "keep"
    channels = {"visible": "keep", "visible_second": second, "infrared": "infrared", "infrared_second": "infrared"}
    views: list[Tensor] = []
    for name in names:
        plan = draw_augmentation(
            runtime.generator(*key, _VIEWS.index(name)),
            num_images=session.config.batch.batch_size,
            height=data.height,
            width=data.width,
            padding=data.crop_padding,
            erasing_probability=data.erasing_probability,
            channels=channels[name],
        )
        views.append(augment(images, plan.rows(part)))
    return torch.cat(views)


def _optimise(
    session: Session, state: TrainState, epoch: int, memories: Memories | None, plans: Iterator[BatchPlan]
) -> dict[str, float]:
    """Takes the epoch's steps; without memories they are those of stage 0."""
    config, device = session.config, session.device
    session.network.train()
    if config.model.batch_norm == "frozen":
        freeze_batch_norm(session.network)
    start = time.perf_counter()
    sums: dict[str, Tensor] = {}
    part = local_slice(config.batch.batch_size, rank=runtime.rank(), world_size=runtime.world_size())
    batches = load_batches(
        session.store, plans, rank=runtime.rank(), world_size=runtime.world_size(), device=device
    )
    finite = _FiniteWatch(epoch)
    for step, (plan, visible, infrared) in enumerate(batches, start=1):
        key = (config.seed, epoch, step)
        names = (_VIEWS[:2], _VIEWS[2:3] if memories else _VIEWS[2:])
        batch = StepBatch(
            _views(session, visible, names[0], key, part),
            _views(session, infrared, names[1], key, part),
            plan.visible,
            plan.infrared,
            part,
        )
        terms = _step(session, state.optimizer, batch, memories, key, finite)
        for name, value in terms.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value
    finite.finish()
    seconds = time.perf_counter() - start
    means = _means(sums, config.stages.iterations)
    images = 3 * config.batch.batch_size * config.stages.iterations
    return means | {"seconds/train": seconds, "images_per_second": images / seconds}


def _step(
    session: Session,
    optimizer: torch.optim.Optimizer,
    batch: StepBatch,
    memories: Memories | None,
    key: tuple[int, int, int],
    finite: "_FiniteWatch",
) -> Mapping[str, Tensor]:
    """One step: loss, optimizer, memories; returns the loss terms."""
    config, device = session.config, session.device
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.runtime.autocast and device.type == "cuda"):
        if memories is None:
            loss, terms, embeddings = _bootstrap_loss(session.network, batch, config.loss.temperature)
        else:
            loss, terms, embeddings = compute_loss(session.network, batch, memories, config.loss)
    loss.backward()
    finite.check(loss.detach(), key[-1])
    if config.optim.max_gradient_norm is not None:
        nn.utils.clip_grad_norm_(session.network.parameters(), config.optim.max_gradient_norm)
    optimizer.step()
    if memories is not None:
        update_memories(
            memories,
            embeddings,
            batch,
            intra=_schedule(config.memory.intra),
            united=_schedule(config.memory.united),
            epoch=key[1],
            key=(*key, _MEMORY_KEY),
        )
    return terms


def _schedule(config: TwoStepConfig) -> TwoStepSchedule:
    return TwoStepSchedule(**config.model_dump())


def _bootstrap_loss(network: nn.Module, batch: StepBatch, temperature: float) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Instance discrimination inside each modality; negatives are this rank's."""
    embeddings = network(batch.visible, batch.infrared).float()
    parts = embeddings.chunk(4)
    visible = nt_xent(parts[0], parts[1], temperature=temperature).mean()
    infrared = nt_xent(parts[2], parts[3], temperature=temperature).mean()
    loss = visible + infrared
    terms = {"bootstrap_visible": visible, "bootstrap_infrared": infrared, "total": loss}
    return loss, {name: value.detach() for name, value in terms.items()}, embeddings.detach()


def _means(sums: Mapping[str, Tensor], iterations: int) -> dict[str, float]:
    """Mean of each term over steps and ranks, with `united`, `instance` and `intra` as sums of their two sides."""
    if not sums:
        return {}
    stacked = torch.stack(list(sums.values()))
    stacked = runtime.gather_rows(stacked[None]).mean(dim=0) / iterations
    means = {f"loss/{name}": value for name, value in zip(sums, stacked.tolist(), strict=True)}
    for kind in ("united", "instance"):
        if f"loss/{kind}_visible" in means:
            means[f"loss/{kind}"] = means[f"loss/{kind}_visible"] + means[f"loss/{kind}_infrared"]
    return means


class _FiniteWatch:
    """Stops at a non-finite loss: on a CPU before the optimizer moves; on a GPU one step late, so that no step has
    to wait for the device (what moved in between is discarded, since nothing is saved within an epoch).
    """  # noqa: D205

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._pending: tuple[Tensor, int] | None = None

    def check(self, loss: Tensor, step: int) -> None:
        """Judges this loss, or on a GPU the one before."""
        if not loss.is_cuda:
            self._judge(loss, step)
            return
        self.finish()
        self._pending = (loss.to("cpu", non_blocking=True), step)

    def finish(self) -> None:
        """Judges what is still pending."""
        if self._pending is not None:
            if torch.cuda.is_available():
                torch.cuda.current_stream().synchronize()
            self._judge(*self._pending)
            self._pending = None

    def _judge(self, loss: Tensor, step: int) -> None:
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"epoch {self._epoch}, step {step}: the loss is {float(loss)}; lower optim.learning_rate or set "
                "optim.max_gradient_norm, then resume from the last checkpoint"
            )
