"""Nearest neighbours in lists: for every image, the nearest images of each group, from one pass over the data.

Ties go to the lower index everywhere: neighbours are ordered by (distance, index), the image itself first.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.clustering.search.tiled import finish_lists, search_square, search_tiles
from ecul.types import FloatArray, IntArray

WORTH_A_TRANSFER = 10**10
BACKENDS = ("auto", "tiles", "faiss", "torch")


@dataclass(frozen=True)
class NeighborSpec:
    """Which lists to keep for every image.

    Attributes:
        group: int32 (N,), dense group number of every image.
        slot: int32 (G, G); `slot[group[i], group[j]]` is the list of i that j may enter, -1 for none.
        depth: neighbours a list holds.
    """

    group: IntArray
    slot: IntArray
    depth: int

    @property
    def num_slots(self) -> int:
        """Lists of every image."""
        return int(self.slot.max(initial=0)) + 1


@dataclass(frozen=True)
class NeighborLists:
    """Neighbours of a range of images, nearest first.

    Attributes:
        index: int32 (R, S, depth), -1 where a group has no more images.
        distance: float32 (R, S, depth), 2 - 2 cos, in [0, 4]; inf where the index is -1.
    """

    index: IntArray
    distance: FloatArray

    def __len__(self) -> int:
        """Number of images."""
        return len(self.index)

    def subset(self, rows: NDArray[np.integer[Any]], num_images: int) -> "NeighborLists":
        """Lists of the images in `rows`, renumbered so that rows[0] is image 0; all neighbours must be in `rows`."""
        renumber = np.full(num_images + 1, -1, np.int32)
        renumber[rows] = np.arange(len(rows), dtype=np.int32)
        return NeighborLists(renumber[self.index[rows]], self.distance[rows])


def lowest_neighbors(lists: NeighborLists, start: int, stop: int) -> IntArray:
    """The lowest neighbour in the first list of images start..stop-1, a key for `map_rows`."""
    return lists.index[start:stop, 0].min(axis=1, initial=np.iinfo(np.int32).max)


def concatenate_lists(parts: Sequence[NeighborLists]) -> NeighborLists:
    """Stacks the lists of consecutive ranges of images."""
    if len(parts) == 1:
        return parts[0]
    return NeighborLists(
        np.concatenate([part.index for part in parts]), np.concatenate([part.distance for part in parts])
    )


def join_specs(
    specs: Sequence[NeighborSpec], rows: Sequence[NDArray[np.integer[Any]]], num_images: int
) -> NeighborSpec:
    """One spec for several disjoint sets of images that never enter each other's lists.

    Args:
        specs: one a set, over the set's own images.
        rows: ascending positions of each set's images among all `num_images`; together they cover all.
        num_images: N.
    """
    num_groups = [len(spec.slot) for spec in specs]
    offsets = np.cumsum([0, *num_groups])
    group = np.zeros(num_images, np.int32)
    slot = np.full((offsets[-1], offsets[-1]), -1, np.int32)
    for spec, members, first, last in zip(specs, rows, offsets[:-1], offsets[1:], strict=True):
        group[members] = spec.group + first
        slot[first:last, first:last] = spec.slot
    return NeighborSpec(group, slot, max(spec.depth for spec in specs))


def _empty_lists(num_rows: int, spec: NeighborSpec) -> NeighborLists:
    shape = (num_rows, spec.num_slots, spec.depth)
    return NeighborLists(np.full(shape, np.iinfo(np.int32).max, np.int32), np.full(shape, np.inf, np.float32))


def search_rows(
    features: FloatArray, specs: Sequence[NeighborSpec], start: int, stop: int, *, num_threads: int | None = None
) -> list[NeighborLists]:
    """Exact lists of images start..stop-1 against all images, one result for every spec.

    Bit for bit what the whole search gives for these images. Cost: (stop - start) x N x D multiplications.

    Args:
        features: float32 (N, D), unit rows.
        specs: the lists wanted; all come from the same pass.
        start: first image of the range.
        stop: one past the last image of the range.
        num_threads: threads to use; None for all processors.
    """
    found = [_empty_lists(stop - start, spec) for spec in specs]
    tables = [(spec.group, spec.slot, lists.distance, lists.index) for spec, lists in zip(specs, found, strict=True)]
    search_tiles(features, tables, start, stop, num_threads=num_threads)
    for lists in found:
        finish_lists(lists.distance, lists.index, num_threads=num_threads)
    return found


def search(
    features: FloatArray,
    specs: Sequence[NeighborSpec],
    *,
    index: str = "flat",
    backend: str = "auto",
    num_threads: int | None = None,
    seed: int = 0,
) -> list[NeighborLists]:
    """Lists of all images, one result for every spec.

    Args:
        features: float32 (N, D), unit rows.
        specs: the lists wanted.
        index: `flat` (exact), `ivf` or `hnsw` (approximate, needs faiss).
        backend: of the flat search: `tiles` (blocked matrix products on the CPU, half of them saved by symmetry),
            `faiss` (flat index, CPU or GPU), `torch` (blocked, CUDA where there is one), `auto` (`torch` with CUDA,
            else `tiles`).
        num_threads: threads to use; None for all processors.
        seed: of the approximate indexes' training.

    Raises:
        ValueError: unknown index or backend.
    """
    if index not in ("flat", "ivf", "hnsw"):
        raise ValueError(f"got index {index!r}; choose flat, ivf or hnsw")
    if backend not in BACKENDS:
        raise ValueError(f"got backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if not len(features):
        return [NeighborLists(*_blank(0, spec)) for spec in specs]
    if index != "flat" or backend == "faiss":
        from ecul.clustering.search.faiss_index import search_faiss

        return [search_faiss(features, spec, index=index, num_threads=num_threads, seed=seed) for spec in specs]
    if backend == "torch" or (backend == "auto" and _cuda_pays(features)):
        from ecul.clustering.search.torch_topk import search_torch

        return [search_torch(features, spec) for spec in specs]
    found = [_empty_lists(len(features), spec) for spec in specs]
    tables = [(spec.group, spec.slot, lists.distance, lists.index) for spec, lists in zip(specs, found, strict=True)]
    search_square(features, tables, num_threads=num_threads)
    for lists in found:
        finish_lists(lists.distance, lists.index, num_threads=num_threads)
    return found


def _blank(num_rows: int, spec: NeighborSpec) -> tuple[IntArray, FloatArray]:
    shape = (num_rows, spec.num_slots, spec.depth)
    return np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32)


def _cuda_pays(features: FloatArray) -> bool:
    """Whether a GPU is there and the search is large enough to be worth the transfer.

    Importing torch costs seconds and hundreds of MiB, so a driver is looked for first.
    """
    if features.size * len(features) < WORTH_A_TRANSFER:
        return False
    if "torch" not in sys.modules and shutil.which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()


def recall_on_sample(
    features: FloatArray, spec: NeighborSpec, lists: NeighborLists, *, num_blocks: int = 2, block_rows: int = 256
) -> float:
    """Share of the exact neighbours that the lists hold, over a few blocks of images spread over the data.

    Args:
        features: float32 (N, D), unit rows.
        spec: what was asked.
        lists: what was found, of all images.
        num_blocks: blocks of consecutive images looked at.
        block_rows: images in a block.
    """
    hits = total = 0
    for start in np.linspace(0, max(0, len(features) - block_rows), num_blocks).astype(int):
        rows = slice(start, min(start + block_rows, len(features)))
        truth = search_rows(features, [spec], rows.start, rows.stop)[0].index
        near = (truth[..., :, None] == lists.index[rows][..., None, :]) & (truth >= 0)[..., None]
        hits, total = hits + int(near.any(axis=-1).sum()), total + int((truth >= 0).sum())
    return hits / max(total, 1)
