"""Which images enter each step: clusters x instances of both modalities, for the global batch.

Every worker draws the same plan from the same generator and takes its own slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecul.types import IntArray

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class BatchPlan:
    """Image positions of one global step; cluster after cluster in both arrays, the united clusters first.

    Attributes:
        visible: int64 (B,).
        infrared: int64 (B,).
    """

    visible: Positions
    infrared: Positions


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
) -> Iterator[BatchPlan]:
    """Yields the plans of an epoch.

    Args:
        intra_label: int32 (N,), clusters within each modality, -1 noise; both modalities need at least one.
        united_label: int32 (N,) or None (stage 1); only clusters holding both modalities are drawn from it.
        modality: int32 (N,).
        camera: int32 (N,).
        iterations: number of plans.
        batch_size: images of each modality.
        instances: images per cluster; divides `batch_size`.
        united_fraction: share of the clusters of a step that are united ones, where there are enough.
        generator: of this epoch.
    """
    subsets = [np.flatnonzero(modality == value) for value in (0, 1)]
    intra = [ClusterMembers(intra_label, subset, camera) for subset in subsets]
    queues = [_endless(members.clusters, generator) for members in intra]
    num_clusters = batch_size // instances
    united: list[ClusterMembers] = []
    both: NDArray[np.integer] = np.empty(0, np.int64)
    if united_label is not None:
        united = [ClusterMembers(united_label, subset, camera) for subset in subsets]
        both = np.intersect1d(united[0].clusters, united[1].clusters)
    num_united = min(round(num_clusters * united_fraction), len(both))
    united_queue = _endless(both, generator)
    for _ in range(iterations):
        shared = [next(united_queue) for _ in range(num_united)]
        chosen = [
            [united[side].draw(cluster, instances, generator) for cluster in shared]
            + [intra[side].draw(next(queues[side]), instances, generator) for _ in range(num_clusters - num_united)]
            for side in (0, 1)
        ]
        yield BatchPlan(np.concatenate(chosen[0]), np.concatenate(chosen[1]))


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
