"""The three things that a scheduler replaces: who clusters, who is told, where checkpoints live."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ecul.config import Config
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, RetrievalResult

Record = Mapping[str, float]


@dataclass(frozen=True)
class Gallery:
    """Queries with the images ranked nearest, to be looked at.

    Attributes:
        query_paths: image files of the queries.
        ranked_paths: for each query its nearest gallery images, nearest first.
        correct: for each of them whether it shows the query's person.
    """

    query_paths: tuple[str, ...]
    ranked_paths: tuple[tuple[str, ...], ...]
    correct: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True)
class FitResult:
    """What a finished training leaves.

    Attributes:
        epoch: the last epoch, whose weights were evaluated.
        retrieval: result of each protocol; empty where nothing was evaluated.
        record: the last epoch's numbers.
        gallery: of the first protocol.
    """

    epoch: int
    retrieval: tuple[RetrievalResult, ...]
    record: Record
    gallery: Gallery | None = None


class ClusterFn(Protocol):
    """Clusters an epoch's features. Called on rank 0 only; the result goes to all ranks."""

    def __call__(self, bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        """Returns the pseudo-labels; `bank` may be read-only memory."""
        ...


class Reporter(Protocol):
    """Is told of the run's course. Called on rank 0 only."""

    def start(self, config: Config, facts: Mapping[str, Any], *, epoch: int) -> None:
        """A run begins, or goes on after `epoch` (0: from the start)."""
        ...

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """A step of an epoch ended, both counted from 1."""
        ...

    def epoch(self, record: Record) -> None:
        """An epoch ended; `record` holds its numbers by name."""
        ...

    def warn(self, message: str) -> None:
        """Something worth knowing happened, and training goes on."""
        ...

    def finish(self, result: FitResult) -> None:
        """The last epoch has been evaluated."""
        ...


class CheckpointStore(Protocol):
    """Keeps checkpoints. Called on every rank, since some stores need all of them; rank 0 writes."""

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Keeps the state after an epoch, atomically."""
        ...

    def load(self) -> dict[str, Any] | None:
        """Returns the newest state, or None for a fresh run."""
        ...


def write_atomically(path: Path, content: str) -> None:
    """Replaces a text file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(content)
    partial.replace(path)
