"""The stages after the search over all rows, as ranges on threads; a task graph may run the same ranges elsewhere.

A sharded run, in full (every `*_rows` function takes first and last row and sees the whole of its compact inputs)::

    recipe = build_recipe(bank, parameters)
    lists = concatenate_lists([search_rows(features, [recipe.spec], a, b)[0] for a, b in ranges])
    near = encoding_lists(recipe, lists)
    half = half_range(near, recipe)
    encoding = concatenate_rows([encode_rows(features, near, half, recipe, a, b) for a, b in ranges])
    fused = concatenate_rows([extend_rows(encoding, lists, recipe, a, b) for a, b in ranges])
    inverted = inverted_index(fused, len(fused))
    graph = concatenate_rows([jaccard_rows(fused, inverted, eps, a, b) for a, b in ranges])
    labels, num_clusters = dbscan_labels(graph, eps=eps, min_samples=min_samples)
"""

from ecul.clustering.emcc import extend_rows
from ecul.clustering.encoding import encode_rows, half_range
from ecul.clustering.jaccard import jaccard_rows
from ecul.clustering.neighbors import NeighborLists, concatenate_lists
from ecul.clustering.presets import Recipe, merged_lists
from ecul.clustering.sparse import SparseRows, concatenate_rows, map_ranges
from ecul.types import FloatArray


def encoding_lists(recipe: Recipe, lists: NeighborLists, *, num_threads: int | None = None) -> NeighborLists:
    """The lists that the encoding uses: those searched, or their merger into one."""
    if not recipe.merge_depth:
        return lists

    def part(first: int, last: int) -> NeighborLists:
        piece = NeighborLists(lists.index[first:last], lists.distance[first:last])
        return merged_lists(piece, recipe.merge_depth, first)

    return concatenate_lists(map_ranges(part, 0, len(lists), num_threads=num_threads))


def encode_all(
    features: FloatArray, lists: NeighborLists, recipe: Recipe, *, num_threads: int | None = None
) -> SparseRows:
    """Encoding vectors V of all images; see `encode_rows`."""
    near = encoding_lists(recipe, lists, num_threads=num_threads)
    half = half_range(near, recipe, num_threads=num_threads)

    def part(first: int, last: int) -> SparseRows:
        return encode_rows(features, near, half, recipe, first, last)

    return concatenate_rows(map_ranges(part, 0, len(lists), num_threads=num_threads))


def extend_all(
    encoding: SparseRows, lists: NeighborLists, recipe: Recipe, *, num_threads: int | None = None
) -> SparseRows:
    """Fused and filtered encodings E of all images; see `extend_rows`."""

    def part(first: int, last: int) -> SparseRows:
        return extend_rows(encoding, lists, recipe, first, last)

    return concatenate_rows(map_ranges(part, 0, len(encoding), num_threads=num_threads))


def jaccard_all(fused: SparseRows, inverted: SparseRows, eps: float, *, num_threads: int | None = None) -> SparseRows:
    """Jaccard distances J <= eps of all images; see `jaccard_rows`."""

    def part(first: int, last: int) -> SparseRows:
        return jaccard_rows(fused, inverted, eps, first, last)

    return concatenate_rows(map_ranges(part, 0, len(fused), num_threads=num_threads))
