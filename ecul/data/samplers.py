"""Which images enter each step: clusters x instances of both modalities, for the global batch.

Every worker draws the same plan from the same generator and takes its own part of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecul.names import UnitedBatch
from ecul.types import IntArray

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class BatchPlan:
    """Image positions of one global step; cluster after cluster in both arrays, the united clusters first.

    Attributes:
        visible: int64 (B,).
        infrared: int64 (B,).
        united: the step's second batch, of united clusters alone, where there is one.
    """

    visible: Positions
    infrared: Positions
    united: "BatchPlan | None" = None

    @property
    def parts(self) -> tuple["BatchPlan", ...]:
        """The step's one or two batches."""
        return (self,) if self.united is None else (self, self.united)


class ClusterMembers:
    """The images of each cluster of one labelling, within a subset of the images."""

    def __init__(self, labels: IntArray, subset: Positions, camera: IntArray) -> None:
        """Indexes the images of `subset`; -1 and clusters without any image there are left out."""
        kept = subset[labels[subset] >= 0]
        order = kept[np.argsort(labels[kept], kind="stable")]
        self.clusters, starts = np.unique(labels[order], return_index=True)
        self._members = (
            dict(zip(self.clusters.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}
        )
        self._camera = camera

    def draw(self, cluster: int, count: int, generator: np.random.Generator) -> Positions:
        """Returns `count` images of a cluster, cameras in turn; images repeat when there are too few."""
        members = generator.permutation(self._members[cluster])
        camera = self._camera[members]
        turn = np.empty(len(members), np.int64)
        for value in np.unique(camera):
            same = np.flatnonzero(camera == value)
            turn[same] = np.arange(len(same))
        order = members[np.lexsort((generator.random(len(members)), turn))]
        return np.resize(order, count)


def _endless(clusters: NDArray[np.integer], generator: np.random.Generator) -> Iterator[int]:
    """All clusters in random order, again and again, so that each is seen before any is seen twice."""
    while True:
        yield from generator.permutation(clusters).tolist()


def plan_epoch(
    intra_label: IntArray,
    united_label: IntArray | None,
    modality: IntArray,
    camera: IntArray,
    *,
    iterations: int,
    batch_size: int,
    instances: int,
    united_fraction: float,
    generator: np.random.Generator,
    united_batch: UnitedBatch = "mixed",
) -> Iterator[BatchPlan]:
    """Yields the plans of an epoch.

    Args:
        intra_label: int32 (N,), clusters within each modality, -1 noise; both modalities need at least one.
        united_label: int32 (N,) or None (before stage 2); a cluster must hold both modalities if there are any.
        modality: int32 (N,).
        camera: int32 (N,).
        iterations: number of plans.
        batch_size: images of each modality in a batch.
        instances: images per cluster; divides `batch_size`.
        united_fraction: share of a mixed batch's clusters that are united ones, where there are enough.
        generator: of this epoch.
        united_batch: where united clusters go: those that hold both modalities into the batch (`mixed`) or into a
            second one (`own`); or any, which each modality draws by itself, into a second one (`own_unpaired`).
    """
    subsets = [np.flatnonzero(modality == value) for value in (0, 1)]
    intra = [ClusterMembers(intra_label, subset, camera) for subset in subsets]
    queues = [_endless(members.clusters, generator) for members in intra]
    num_clusters = batch_size // instances
    united = [] if united_label is None else [ClusterMembers(united_label, subset, camera) for subset in subsets]
    both = np.intersect1d(united[0].clusters, united[1].clusters) if united else np.empty(0, np.int64)
    mixed = united_batch == "mixed"
    num_united = min(round(num_clusters * united_fraction), len(both)) if mixed else 0
    united_queue = _endless(both, generator)
    own_queues = [united_queue]
    if united_batch == "own_unpaired":
        own_queues = [_endless(members.clusters, generator) for members in united]
    for _ in range(iterations):
        shared = [next(united_queue) for _ in range(num_united)]
        chosen = [
            [united[side].draw(cluster, instances, generator) for cluster in shared]
            + [intra[side].draw(next(queues[side]), instances, generator) for _ in range(num_clusters - num_united)]
            for side in (0, 1)
        ]
        own = united and not mixed
        second = _own_batch(united, own_queues, num_clusters, instances, generator) if own else None
        yield BatchPlan(np.concatenate(chosen[0]), np.concatenate(chosen[1]), second)


def _own_batch(
    united: Sequence[ClusterMembers],
    queues: Sequence[Iterator[int]],
    num_clusters: int,
    instances: int,
    generator: np.random.Generator,
) -> BatchPlan:
    """A batch of united clusters: the same ones for both modalities from one queue, or each modality's from its own."""
    drawn = [[next(queue) for _ in range(num_clusters)] for queue in queues]
    visible, infrared = (
        np.concatenate([members.draw(cluster, instances, generator) for cluster in clusters])
        for members, clusters in zip(united, (drawn[0], drawn[-1]), strict=True)
    )
    return BatchPlan(visible, infrared)


def plan_bootstrap(
    modality: IntArray, *, iterations: int, batch_size: int, generator: np.random.Generator
) -> Iterator[BatchPlan]:
    """Yields plans of images drawn without labels (stage 0)."""
    visible, infrared = (np.flatnonzero(modality == value) for value in (0, 1))
    for _ in range(iterations):
        yield BatchPlan(
            generator.choice(visible, batch_size, replace=len(visible) < batch_size),
            generator.choice(infrared, batch_size, replace=len(infrared) < batch_size),
        )
