"""Inter-modality instance selection: which visible and infrared images count as the same person."""

import numpy as np

from ecul.clustering.jaccard import pair_jaccard
from ecul.clustering.search.lists import NeighborLists, NeighborSpec, within_reach
from ecul.clustering.sparse import SparseRows
from ecul.types import IntArray, Modality, SelectionParameters


def other_modality_spec(modality: IntArray, num_neighbors: int) -> NeighborSpec:
    """The lists the selection needs: each image's nearest of the other modality."""
    return NeighborSpec(modality.astype(np.int32), np.array([[-1, 0], [0, -1]], np.int32), num_neighbors)


def select_pairs(
    fused: SparseRows,
    lists: NeighborLists,
    modality: IntArray,
    copies: IntArray,
    parameters: SelectionParameters,
) -> IntArray:
    """Pairs (P, 2) of a visible and an infrared image, ordered (docs/method.md, "Losses").

    Each is among the other's nearest of that modality, and their Jaccard distance is small enough. Images in no
    cluster can be in pairs.

    Args:
        fused: fused encodings of the united clustering.
        lists: each image's nearest of the other modality, as of `other_modality_spec`.
        modality: int32 (N,).
        copies: int32 (N,), images that each of these stands for.
        parameters: how many neighbours, and the largest distance.
    """
    near = within_reach(lists.index, np.full(1, parameters.num_neighbors, np.int32), copies)[:, 0]
    row, place = np.nonzero(near >= 0)
    edges = np.stack([row, near[row, place]], axis=1).astype(np.int64)
    keys = edges[:, 0] * len(lists) + edges[:, 1]
    mutual = np.isin(edges[:, 1] * len(lists) + edges[:, 0], keys)
    visible = modality[edges[:, 0]] == Modality.VISIBLE
    pairs = np.ascontiguousarray(edges[mutual & visible].astype(np.int32))
    pairs = pairs[pair_jaccard(fused, pairs) <= np.float32(parameters.max_distance)]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
