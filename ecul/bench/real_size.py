"""What the parts of a run cost at the size of its real dataset, and what an epoch should take on GPUs.

Nothing is trained: the dataset is read and checked, a slice of the images goes through the real network, simulated
embeddings of the dataset's own people and cameras are clustered, and random ones are ranked.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ecul import runtime
from ecul.bench.clustering import with_peak
from ecul.bench.simulate import even_counts, simulate_bank
from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.data.dataset import ReidDataset
from ecul.data.doctor import inspect_dataset
from ecul.data.layouts import find_layout
from ecul.engine.embedding import embed_images
from ecul.engine.epoch import clustering_request
from ecul.engine.session import build_network, image_store, open_data
from ecul.evaluation.evaluate import evaluate
from ecul.models.backbone import DualStream
from ecul.types import FeatureBank, LabelledIndex, SampleIndex

Result = TypeVar("Result")

_VIEWS = 3  # two of each visible image, one of each infrared one (docs/method.md)
_PASSES = 3  # a backward pass costs about two forward passes
_FLIPPED = 2  # an embedding is the mean over the image and its mirror image


@dataclass(frozen=True)
class Part:
    """One part of a run, measured.

    Attributes:
        name: of the part.
        seconds: that it took.
        cpu_seconds: processor seconds of all threads, which other programs on the machine hardly change.
        peak_mib: largest memory of the process during the part, beyond what it held before.
        count: images (queries of all trials for `evaluate`) that the part was about.
    """

    name: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    count: int


@dataclass(frozen=True)
class GpuEstimate:
    """Expected seconds of one epoch of the last stage on some GPUs."""

    num_gpus: int
    extract: float
    cluster: float
    train: float

    @property
    def epoch(self) -> float:
        """All three parts, one after the other."""
        return self.extract + self.cluster + self.train


def measure_parts(config: Config, *, slice_images: int) -> Iterator[Part]:
    """Yields each part as soon as it is measured: doctor, index, decode, extract, cluster, and evaluate by protocol.

    Args:
        config: of the run; its network starts from the configured weights.
        slice_images: training images, evenly spread, that are embedded; all are decoded.

    Raises:
        DataError: something about the dataset is wrong.
        CheckpointError: starting weights that cannot be used.
    """
    yield _timed("doctor", lambda: inspect_dataset(config.data.root, layout=config.data.layout), None)[0]
    part, dataset = _timed("index", lambda: open_data(config), None)
    yield replace(part, count=len(dataset.train) + len(dataset.test))
    yield _timed("decode", lambda: image_store(config, dataset.train.samples.paths), len(dataset.train))[0]
    samples = _slice(dataset.train.samples, slice_images)
    model, device = build_network(config), runtime.pick_device(config.runtime.device)
    store = image_store(config, samples.paths)
    embedded = partial(
        embed_images,
        model.to(device),
        store,
        samples,
        device=device,
        batch_size=config.evaluation.batch_size,
        autocast=config.runtime.autocast,
    )
    yield _timed("extract", embedded, len(samples))[0]
    bank = _simulated(dataset.train, model.embedding_dim)
    request = clustering_request(config, *config.stages.at(config.num_epochs))
    threads = config.clustering.num_threads
    cluster_epoch(simulate_bank(even_counts(300, 2), (0, 1), 16, seed=0)[0], request, num_threads=threads)  # compiles
    yield _timed("cluster", lambda: cluster_epoch(bank, request, num_threads=threads), len(bank))[0]
    yield from _evaluations(config, dataset, model.embedding_dim)


def flops_of_an_image(config: Config) -> int:
    """Floating-point operations (two for a multiply and add) of one image's forward pass at the configured size."""
    model: DualStream = build_network(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, config.data.height, config.data.width), None)
    return counter.get_total_flops()


def estimate_epoch(
    config: Config, *, num_images: int, flops: int, cluster_seconds: float, num_gpus: int, sustained_tflops: float
) -> GpuEstimate:
    """Expected seconds of an epoch of the last stage.

    The passes are the operations over the speed; several GPUs share them evenly and their exchange of gradients is
    taken to hide behind the backward pass. The clustering takes the wall seconds measured here, on these processors.
    Decoding, data augmentation, memories and evaluation are left out: they run beside the GPU or take about a second.

    Args:
        config: of the run.
        num_images: of the training set.
        flops: of an image's forward pass (`flops_of_an_image`).
        cluster_seconds: of the epoch's clustering.
        num_gpus: that train.
        sustained_tflops: of one GPU in this network, not its peak.
    """
    speed = sustained_tflops * 1e12 * num_gpus
    steps = config.stages.iterations * config.batch.batch_size * _VIEWS * _PASSES
    return GpuEstimate(
        num_gpus=num_gpus,
        extract=num_images * _FLIPPED * flops / speed,
        cluster=cluster_seconds,
        train=steps * flops / speed,
    )


def _timed(name: str, function: Callable[[], Result], count: int | None) -> tuple[Part, Result]:
    wall, processor = time.perf_counter(), time.process_time()
    result, peak = with_peak(function)
    return Part(name, time.perf_counter() - wall, time.process_time() - processor, peak, count or 0), result


def _slice(samples: SampleIndex, size: int) -> SampleIndex:
    chosen = np.unique(np.linspace(0, len(samples) - 1, num=min(size, len(samples))).astype(np.int64))
    return SampleIndex(tuple(samples.paths[row] for row in chosen), samples.modality[chosen], samples.camera[chosen])


def _simulated(index: LabelledIndex, dim: int) -> FeatureBank:
    """Embeddings of as many images of each person under each camera as the index has."""
    cameras, camera = np.unique(index.samples.camera, return_inverse=True)
    people, person = np.unique(index.identity, return_inverse=True)
    groups = 2 * len(cameras)
    counts = np.zeros((groups, len(people)), np.int64)
    np.add.at(counts, (2 * camera + index.samples.modality, person), 1)
    return simulate_bank(counts, [group % 2 for group in range(groups)], dim, seed=0)[0]


def _evaluations(config: Config, dataset: ReidDataset, dim: int) -> Iterator[Part]:
    features = np.random.default_rng(0).standard_normal((len(dataset.test), dim), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rule = config.evaluation.gallery_rule
    for protocol in find_layout(dataset.layout).protocols:
        ranked = partial(evaluate, features, dataset.test, protocol=protocol, gallery_rule=rule)
        yield _timed(f"evaluate {protocol.name}", ranked, len(dataset.test))[0]
