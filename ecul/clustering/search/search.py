"""Exact neighbour lists: a backend proposes, the exact kernel decides, a proven bound certifies.

1. Propose. A backend multiplies in its own arithmetic and keeps, for each list, `depth + spare` pairs.
2. Decide. The exact kernel (`ecul.clustering.search.exact`) orders the proposed pairs; the first `depth` are the list.
3. Certify. The most similar pair that was not proposed is, by the bound of the arithmetic
   (`ecul.clustering.search.arithmetic`), farther than the last one kept. Rows for which that does not hold are
   proposed again in float64, and those that still tie are searched by the exact kernel alone.

So equal features give equal lists, bit for bit, whatever proposes.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecul.clustering.search.arithmetic import FLOAT32, FLOAT64, Arithmetic
from ecul.clustering.search.exact import Images, Proposals, decide, search_exactly
from ecul.clustering.search.lists import NeighborLists, NeighborSpec
from ecul.clustering.search.tiled import propose_blocks, propose_rows
from ecul.clustering.sparse import map_ranges
from ecul.errors import SearchError
from ecul.names import SearchBackend
from ecul.types import FloatArray, IntArray

WORTH_A_TRANSFER = 10**10
"""Multiplications N x N x D from which a search is worth sending to a GPU."""
AGAIN_AT_ONCE = 4096
"""Rows proposed again together: bounds the memory of their lists."""


@dataclass(frozen=True)
class SearchReport:
    """How a search went.

    Attributes:
        error: bound of the proposing arithmetic on a similarity.
        observed_error: largest error met among the proposed pairs.
        rows: lists' owners decided, summed over the specs.
        again: rows proposed again in float64.
        by_hand: rows of these that the exact kernel searched alone.
    """

    error: float
    observed_error: float
    rows: int
    again: int
    by_hand: int

    def metrics(self) -> dict[str, float]:
        """The same numbers by name, for diagnostics."""
        return {
            "search/error_bound": self.error,
            "search/observed_error": self.observed_error,
            "search/rows": float(self.rows),
            "search/rows_again": float(self.again),
            "search/rows_by_hand": float(self.by_hand),
        }


def join_reports(reports: Sequence[SearchReport]) -> SearchReport:
    """One report of several searches."""
    return SearchReport(
        error=max((report.error for report in reports), default=0.0),
        observed_error=max((report.observed_error for report in reports), default=0.0),
        rows=sum(report.rows for report in reports),
        again=sum(report.again for report in reports),
        by_hand=sum(report.by_hand for report in reports),
    )


Propose = Callable[[FloatArray, Sequence[NeighborSpec]], list[Proposals]]
"""From features in group order and the specs over them: the proposals of all images, one result for every spec."""


def search(
    features: FloatArray,
    specs: Sequence[NeighborSpec],
    *,
    backend: SearchBackend = "auto",
    num_threads: int | None = None,
) -> tuple[list[NeighborLists], SearchReport]:
    """Exact lists of all images, one result for every spec, and how the search went.

    Args:
        features: float32 (N, D), rows of norm 1 within `NORM_TOLERANCE`.
        specs: the lists wanted.
        backend: what proposes: `tiles` (blocked matrix products on the CPU), `faiss` (its flat index, CPU or GPU),
            `torch` (blocked top-k, CUDA where there is one), `auto` (`torch` with CUDA, else `tiles`). The lists do
            not depend on it.
        num_threads: threads to use; None for all processors. The lists do not depend on it.

    Raises:
        ValueError: unknown backend, or one that is not installed.
        SearchError: the backend's similarities are off by more than its arithmetic allows.
    """
    propose, arithmetic = _backend(features, backend, num_threads)
    return search_by(propose, features, specs, arithmetic=arithmetic, num_threads=num_threads)


def _backend(features: FloatArray, backend: SearchBackend, num_threads: int | None) -> tuple[Propose, Arithmetic]:
    if backend == "faiss":
        from ecul.clustering.search.faiss_index import faiss_backend

        return faiss_backend(num_threads)
    if proposed_by_torch(features, backend):
        from ecul.clustering.search.torch_topk import torch_backend

        return torch_backend(num_threads=num_threads)
    if backend not in ("auto", "tiles"):
        raise ValueError(f"got backend {backend!r}; choose auto, tiles, faiss or torch")

    def propose(features: FloatArray, specs: Sequence[NeighborSpec]) -> list[Proposals]:
        whole = (0, len(features))
        return propose_blocks(features, specs, whole, whole, num_threads=num_threads)[0]

    return propose, FLOAT32


def search_by(
    propose: Propose,
    features: FloatArray,
    specs: Sequence[NeighborSpec],
    *,
    arithmetic: Arithmetic,
    num_threads: int | None = None,
) -> tuple[list[NeighborLists], SearchReport]:
    """The lists and the report of `search` with a given backend.

    Args:
        propose: the backend.
        features: float32 (N, D), unit rows.
        specs: the lists wanted.
        arithmetic: the backend's; its `error` must hold.
        num_threads: threads to use; None for all processors.

    Raises:
        SearchError: the backend's similarities are off by more than its arithmetic allows.
    """
    order = group_order(specs)
    names = np.arange(len(features), dtype=np.int32) if order is None else order
    if order is not None:
        features = np.ascontiguousarray(features[order])
        specs = [NeighborSpec(np.ascontiguousarray(spec.group[order]), spec.slot, spec.depth) for spec in specs]
    done = [
        decide_rows(
            Images(features, names, spec.group, spec.slot),
            proposals,
            spec,
            arithmetic=arithmetic,
            num_threads=num_threads,
        )
        for spec, proposals in zip(specs, propose(features, specs), strict=True)
    ]
    return [lists for lists, _ in done], join_reports([report for _, report in done])


def group_order(specs: Sequence[NeighborSpec]) -> IntArray | None:
    """An order in which images of the same groups, in all specs, follow one another; None if they do already."""
    groups = np.stack([spec.group for spec in specs], axis=1)
    kinds, number = np.unique(groups, axis=0, return_inverse=True)
    number = number.reshape(-1)
    if np.count_nonzero(np.diff(number)) < max(1, len(kinds)):
        return None
    return np.argsort(number, kind="stable").astype(np.int32)


def decide_rows(
    images: Images,
    proposals: Proposals,
    spec: NeighborSpec,
    *,
    arithmetic: Arithmetic,
    num_threads: int | None = None,
) -> tuple[NeighborLists, SearchReport]:
    """Decides and certifies the lists of the proposals' images; searches again where the certificate fails.

    Args:
        images: all images.
        proposals: of all images, or of a range of them whose names are their places.
        spec: the lists wanted.
        arithmetic: of the proposals.
        num_threads: threads to use; None for all processors.

    Returns:
        The lists, in the order of the names, and how the search went.

    Raises:
        SearchError: a proposed similarity is off by more than the arithmetic allows.
    """
    num_rows, error = len(proposals.images), arithmetic.error(images.features.shape[1])
    lists = _empty_lists(num_rows, spec)
    base = int(images.names[proposals.images].min()) if num_rows else 0
    certified, observed = _decide_all(images, proposals, lists, base, error, num_threads)
    if observed > error:
        raise SearchError(
            f"the {arithmetic.name} search is off by {observed:.3g} in a similarity, where its arithmetic allows "
            f"{error:.3g}; its matrix product is wrong on this machine, so choose another backend"
        )
    again = proposals.images[~certified]
    by_hand = 0
    for first in range(0, len(again), AGAIN_AT_ONCE):
        by_hand += _search_again(images, spec, again[first : first + AGAIN_AT_ONCE], lists, base, num_threads)
    return lists, SearchReport(error, observed, num_rows, len(again), by_hand)


def _empty_lists(num_rows: int, spec: NeighborSpec) -> NeighborLists:
    shape = (num_rows, spec.num_slots, spec.depth)
    return NeighborLists(np.full(shape, -1, np.int32), np.full(shape, np.inf, np.float32))


def _decide_all(
    images: Images, proposals: Proposals, lists: NeighborLists, base: int, error: float, num_threads: int | None
) -> tuple[NDArray[np.bool_], float]:
    """Which of the proposals' rows are certified, and the largest error met."""
    # images that share a neighbour read the same features: visited in turn, they find them in the caches
    lowest = np.where(proposals.index[:, 0] < 0, np.iinfo(np.int32).max, proposals.index[:, 0]).min(axis=1)
    order = np.argsort(lowest, kind="stable")

    def part(first: int, last: int) -> tuple[NDArray[np.bool_], float]:
        return decide(images, proposals, order[first:last], lists.index, lists.distance, error=error, base=base)

    parts = map_ranges(part, 0, len(order), num_threads=num_threads)
    certified = np.empty(len(order), np.bool_)
    certified[order] = np.concatenate([sure for sure, _ in parts])
    return certified, max(worst for _, worst in parts)


def _search_again(
    images: Images, spec: NeighborSpec, rows: IntArray, lists: NeighborLists, base: int, num_threads: int | None
) -> int:
    """Proposes rows again in float64 and decides; the exact kernel does what is left. Returns how many those were."""
    proposals = propose_rows(images.features, spec, rows, arithmetic=FLOAT64, dtype=np.float64, num_threads=num_threads)
    error = FLOAT64.error(images.features.shape[1])
    certified, observed = _decide_all(images, proposals, lists, base, error, num_threads)
    left = rows[~certified] if observed <= error else rows

    def by_hand(first: int, last: int) -> None:
        for image in left[first:last]:
            row = images.names[image] - base
            search_exactly(images, int(image), lists.index[row], lists.distance[row])

    map_ranges(by_hand, 0, len(left), num_threads=num_threads, min_rows=1)
    return len(left)


def proposed_by_torch(features: FloatArray, backend: SearchBackend) -> bool:
    """Whether torch proposes the neighbours of these features: asked for, or chosen since a GPU is there and pays."""
    return backend == "torch" or (backend == "auto" and _cuda_pays(features))


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
