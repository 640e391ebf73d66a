"""The search in pieces: every pair of blocks of images is multiplied once, and what the pieces propose is merged.

With S blocks there are S (S + 1) / 2 pieces, whose work together is that of the search in one piece.
"""

from collections.abc import Sequence

import numpy as np

from ecul.clustering.search.arithmetic import FLOAT32
from ecul.clustering.search.exact import Images, Proposals
from ecul.clustering.search.lists import NeighborLists, NeighborSpec, concatenate_lists
from ecul.clustering.search.search import SearchReport, decide_rows, join_reports
from ecul.clustering.search.tiled import propose_blocks
from ecul.types import FeatureBank

Range = tuple[int, int]
Decided = list[tuple[NeighborLists, SearchReport]]


def propose_pair(
    bank: FeatureBank, specs: Sequence[NeighborSpec], rows: Range, columns: Range, num_threads: int | None
) -> tuple[list[Proposals], list[Proposals]]:
    """Proposals for the images of two blocks from each other; the second list is empty where they are one block."""
    return propose_blocks(bank.features, specs, rows, columns, num_threads=num_threads)


def merge_proposals(parts: Sequence[Proposals], width: int) -> Proposals:
    """The `width` most similar pairs of several proposals for the same images.

    A pair that is left out here or was left out of a part is no more similar than the new floor.
    """
    if len(parts) == 1:
        return parts[0]
    similarity = np.concatenate([part.similarity for part in parts], axis=2)
    index = np.concatenate([part.index for part in parts], axis=2)
    floor = np.max([part.floor for part in parts], axis=0)
    if similarity.shape[2] > width:
        order = np.argpartition(-similarity, width, axis=2)
        floor = np.maximum(floor, np.take_along_axis(similarity, order[:, :, width:], 2).max(axis=2))
        similarity = np.take_along_axis(similarity, order[:, :, :width], 2)
        index = np.take_along_axis(index, order[:, :, :width], 2)
    return Proposals(parts[0].images, index, similarity, floor)


def decide_block(
    bank: FeatureBank, specs: Sequence[NeighborSpec], num_threads: int | None, *parts: Sequence[Proposals]
) -> Decided:
    """The lists of one block of images, from all that was proposed for them, one result for every spec."""
    names = np.arange(len(bank), dtype=np.int32)
    done: Decided = []
    for number, spec in enumerate(specs):
        proposals = merge_proposals([part[number] for part in parts], spec.depth + FLOAT32.spare)
        images = Images(bank.features, names, spec.group, spec.slot)
        done.append(decide_rows(images, proposals, spec, arithmetic=FLOAT32, num_threads=num_threads))
    return done


def join_blocks(*blocks: Decided) -> tuple[list[NeighborLists], SearchReport]:
    """The lists of all images for each spec, and one report, from those of consecutive blocks."""
    lists = [concatenate_lists([lists for lists, _ in spec]) for spec in zip(*blocks, strict=True)]
    return lists, join_reports([report for block in blocks for _, report in block])
