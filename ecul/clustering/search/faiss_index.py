"""Proposals by faiss's flat index, on the CPU or the GPUs."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ecul.clustering.search.arithmetic import FLOAT32, TF32, Arithmetic
from ecul.clustering.search.exact import Proposals
from ecul.clustering.search.lists import NeighborSpec, TargetSet, target_sets
from ecul.clustering.sparse import default_threads
from ecul.types import FloatArray


def faiss_backend(
    num_threads: int | None = None,
) -> tuple[Callable[[FloatArray, Sequence[NeighborSpec]], list[Proposals]], Arithmetic]:
    """The proposing function and what it computes in.

    Args:
        num_threads: threads to use; None for all processors.

    Raises:
        ValueError: faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ValueError("backend faiss needs faiss, which is not installed; choose tiles") from error
    arithmetic = TF32 if faiss.get_num_gpus() else FLOAT32

    def propose(features: FloatArray, specs: Sequence[NeighborSpec]) -> list[Proposals]:
        with library_threads(faiss.omp_get_max_threads, faiss.omp_set_num_threads, num_threads):
            return [_proposals(faiss, features, spec, arithmetic.spare) for spec in specs]

    return propose, arithmetic


@contextlib.contextmanager
def library_threads(get: Callable[[], int], use: Callable[[int], None], num_threads: int | None) -> Iterator[None]:
    """Gives a library some threads while the block runs, and then those that it had before.

    Args:
        get: returns its number of threads.
        use: sets it.
        num_threads: threads to use; None for all processors.
    """
    before = get()
    use(default_threads(num_threads))
    try:
        yield
    finally:
        use(before)


def _proposals(faiss: Any, features: FloatArray, spec: NeighborSpec, spare: int) -> Proposals:
    proposals = empty_proposals(len(features), spec, spare)
    for target in target_sets(spec):
        index = faiss.IndexFlatIP(features.shape[1])
        if faiss.get_num_gpus():
            index = faiss.index_cpu_to_all_gpus(index)
        index.add(features[target.columns])
        for number, rows in target.queries:
            width = min(proposals.index.shape[2], len(target.columns))
            similarity, column = index.search(np.ascontiguousarray(features[rows]), width)
            enter_best(proposals, target, rows, number, similarity, column)
    return proposals


def empty_proposals(num_images: int, spec: NeighborSpec, spare: int) -> Proposals:
    """Nothing proposed yet; a list has one place more than depth and spare, for the image itself."""
    shape = (num_images, spec.num_slots, spec.depth + spare + 1)
    return Proposals(
        images=np.arange(num_images, dtype=np.int32),
        index=np.full(shape, -1, np.int32),
        similarity=np.full(shape, -np.inf, np.float32),
        floor=np.full(shape[:2], -np.inf, np.float32),
    )


def enter_best(
    proposals: Proposals,
    target: TargetSet,
    rows: Any,
    number: int,
    similarity: FloatArray,
    column: Any,
) -> None:
    """Writes the best pairs of some images, found by a library's top-k, as their list `number`.

    Args:
        proposals: written.
        target: the images searched.
        rows: int32 (Q,), the images.
        number: of the list.
        similarity: float32 (Q, W), of the best pairs, best first.
        column: int (Q, W), positions of their images in `target.columns`.
    """
    index = target.columns[column]
    itself = index == rows[:, None]
    width = index.shape[1]
    proposals.index[rows, number, :width] = np.where(itself, -1, index)
    proposals.similarity[rows, number, :width] = np.where(itself, -np.inf, similarity)
    if width < len(target.columns):
        proposals.floor[rows, number] = similarity[:, -1]
