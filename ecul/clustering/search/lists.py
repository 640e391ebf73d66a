"""What a neighbour search is asked for, and what it returns.

An image's neighbours are kept in one or several lists, each over some groups of images: one list for every camera,
one for the same camera and one for all others, and so on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ecul.types import FloatArray, IntArray


@dataclass(frozen=True)
class NeighborSpec:
    """Which lists to keep for every image.

    Attributes:
        group: int32 (N,), dense group number of every image.
        slot: int32 (G, G); `slot[group[i], group[j]]` is the list of i that j may enter, -1 for none.
        depth: neighbours a list holds, the image itself included where it may enter its own list.
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

    The order is that of (exact distance, index), the image itself first; see `ecul.clustering.search.exact`.

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


@numba.njit(cache=True, nogil=True)
def _within(index, depth, copies, out):
    for r in range(index.shape[0]):
        for s in range(index.shape[1]):
            images = 0
            for place in range(min(index.shape[2], out.shape[2])):
                other = index[r, s, place]
                if other < 0 or images >= depth[s]:
                    break
                out[r, s, place] = other
                images += copies[other]


def within_reach(index: IntArray, depth: IntArray, copies: IntArray) -> IntArray:
    """The nearest points of each list that hold `depth` images together, the last one with all its copies.

    Args:
        index: int32 (R, S, K), as of `NeighborLists`.
        depth: int32 (S,), images wanted from each list; lists after the S-th are left out.
        copies: int32 (N,), images of every point.

    Returns:
        int32 (R, S, max depth), -1 after the last.
    """
    out = np.full((len(index), len(depth), min(index.shape[2], int(depth.max(initial=0)))), -1, np.int32)
    _within(index[:, : len(depth)], depth, copies, out)
    return out


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


@dataclass(frozen=True)
class TargetSet:
    """A set of images that some images search as one list.

    Attributes:
        columns: int32 (C,), the images searched, ascending.
        queries: (list number, int32 (Q,) images whose list of that number it is) of each group of images that asks.
    """

    columns: IntArray
    queries: list[tuple[int, IntArray]]


def target_sets(spec: NeighborSpec) -> list[TargetSet]:
    """Each distinct non-empty set of images that is searched, with the images and lists that ask for it."""
    askers: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for group in range(len(spec.slot)):
        for number in range(spec.num_slots):
            searched = tuple(np.flatnonzero(spec.slot[group] == number).tolist())
            askers.setdefault(searched, []).append((number, group))
    members = [np.flatnonzero(spec.group == group).astype(np.int32) for group in range(len(spec.slot))]
    sets: list[TargetSet] = []
    for searched, wanted in askers.items():
        columns = np.sort(np.concatenate([members[group] for group in searched])) if searched else np.empty(0, np.int32)
        queries = [(number, members[group]) for number, group in wanted if len(members[group])]
        if len(columns) and queries:
            sets.append(TargetSet(columns, queries))
    return sets
