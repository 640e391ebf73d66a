"""The stages after the search over ranges of rows, on threads; an executor may send ranges to several machines.

Every function takes the rows it is to do and sees the whole of its compact inputs.
"""

from functools import partial

from ecul.clustering.encoding import EncodingInputs, encode_rows, half_range
from ecul.clustering.fusion import extend_rows
from ecul.clustering.jaccard import jaccard_rows
from ecul.clustering.presets import Recipe, merged_lists
from ecul.clustering.search.lists import NeighborLists, concatenate_lists, lowest_neighbors, within_reach
from ecul.clustering.sparse import (
    SparseRows,
    concatenate_rows,
    first_heavy_columns,
    inverted_index,
    map_ranges,
    map_rows,
)
from ecul.types import FeatureBank


def encoding_inputs(lists: NeighborLists, recipe: Recipe, num_threads: int | None = None) -> EncodingInputs:
    """What the encoding of every range reads."""

    def part(first: int, last: int) -> NeighborLists:
        piece = NeighborLists(lists.index[first:last], lists.distance[first:last])
        return merged_lists(piece, recipe, first)

    near = lists
    if recipe.merge_depth:
        near = concatenate_lists(map_ranges(part, 0, len(lists), num_threads=num_threads))
    reach = within_reach(near.index, recipe.full_depth, recipe.copies)
    return EncodingInputs(near, reach, half_range(near, recipe, num_threads=num_threads))


def encode_range(
    bank: FeatureBank, inputs: EncodingInputs, recipe: Recipe, num_threads: int | None, start: int, stop: int
) -> SparseRows:
    """Encoding vectors V of images start..stop-1; see `encode_rows`."""
    kernel = partial(encode_rows, bank.features, inputs, recipe)
    return map_rows(kernel, lowest_neighbors(inputs.lists, start, stop), start, num_threads=num_threads)


def extend_range(
    encoding: SparseRows, lists: NeighborLists, recipe: Recipe, num_threads: int | None, start: int, stop: int
) -> SparseRows:
    """Fused and filtered encodings E of images start..stop-1; see `extend_rows`."""
    kernel = partial(extend_rows, encoding, lists, recipe)
    return map_rows(kernel, first_heavy_columns(encoding, start, stop), start, num_threads=num_threads)


def jaccard_range(
    fused: SparseRows, inverted: SparseRows, eps: float, num_threads: int | None, start: int, stop: int
) -> SparseRows:
    """Jaccard distances J <= eps of images start..stop-1; see `jaccard_rows`."""
    kernel = partial(jaccard_rows, fused, inverted, eps)
    return map_rows(kernel, first_heavy_columns(fused, start, stop), start, num_threads=num_threads)


def joined(*parts: SparseRows) -> SparseRows:
    """Consecutive ranges of rows as one."""
    return concatenate_rows(parts)


def joined_and_inverted(*parts: SparseRows) -> tuple[SparseRows, SparseRows]:
    """Consecutive ranges of rows as one, and its transpose."""
    rows = concatenate_rows(parts)
    return rows, inverted_index(rows, len(rows))
