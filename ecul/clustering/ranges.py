"""The stages after the search over all rows, as ranges on threads; a task graph may run the same ranges elsewhere.

A sharded run, in full (every function takes the rows it is to do and sees the whole of its compact inputs)::

    recipe = build_recipe(bank, parameters)
    lists = concatenate_lists([search_rows(features, [recipe.spec], a, b)[0] for a, b in ranges])
    near = encoding_lists(recipe, lists)
    half = half_range(near, recipe)
    encoding = concatenate_rows([encode_range(features, near, half, recipe, a, b) for a, b in ranges])
    fused = concatenate_rows([extend_range(encoding, lists, recipe, a, b) for a, b in ranges])
    inverted = inverted_index(fused, len(fused))
    graph = concatenate_rows([jaccard_range(fused, inverted, eps, a, b) for a, b in ranges])
    labels, num_clusters = dbscan_labels(graph, eps=eps, min_samples=min_samples)
"""

from functools import partial

from ecul.clustering.encoding import encode_rows, half_range
from ecul.clustering.fusion import extend_rows
from ecul.clustering.jaccard import jaccard_rows
from ecul.clustering.presets import Recipe, merged_lists
from ecul.clustering.search.lists import NeighborLists, concatenate_lists, lowest_neighbors
from ecul.clustering.sparse import SparseRows, first_columns, map_ranges, map_rows
from ecul.types import FloatArray


def encoding_lists(recipe: Recipe, lists: NeighborLists, *, num_threads: int | None = None) -> NeighborLists:
    """The lists that the encoding uses: those searched, or their merger into one."""
    if not recipe.merge_depth:
        return lists

    def part(first: int, last: int) -> NeighborLists:
        piece = NeighborLists(lists.index[first:last], lists.distance[first:last])
        return merged_lists(piece, recipe.merge_depth, first)

    return concatenate_lists(map_ranges(part, 0, len(lists), num_threads=num_threads))


def encode_range(
    features: FloatArray,
    near: NeighborLists,
    half: SparseRows,
    recipe: Recipe,
    start: int,
    stop: int,
    *,
    num_threads: int | None = None,
) -> SparseRows:
    """Encoding vectors V of images start..stop-1; see `encode_rows`."""
    kernel = partial(encode_rows, features, near, half, recipe)
    return map_rows(kernel, lowest_neighbors(near, start, stop), start, num_threads=num_threads)


def extend_range(
    encoding: SparseRows,
    lists: NeighborLists,
    recipe: Recipe,
    start: int,
    stop: int,
    *,
    num_threads: int | None = None,
) -> SparseRows:
    """Fused and filtered encodings E of images start..stop-1; see `extend_rows`."""
    kernel = partial(extend_rows, encoding, lists, recipe)
    return map_rows(kernel, first_columns(encoding, start, stop), start, num_threads=num_threads)


def jaccard_range(
    fused: SparseRows, inverted: SparseRows, eps: float, start: int, stop: int, *, num_threads: int | None = None
) -> SparseRows:
    """Jaccard distances J <= eps of images start..stop-1; see `jaccard_rows`."""
    kernel = partial(jaccard_rows, fused, inverted, eps)
    return map_rows(kernel, first_columns(fused, start, stop), start, num_threads=num_threads)


def encode_all(
    features: FloatArray, lists: NeighborLists, recipe: Recipe, *, num_threads: int | None = None
) -> SparseRows:
    """Encoding vectors V of all images."""
    near = encoding_lists(recipe, lists, num_threads=num_threads)
    half = half_range(near, recipe, num_threads=num_threads)
    return encode_range(features, near, half, recipe, 0, len(lists), num_threads=num_threads)
