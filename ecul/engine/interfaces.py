"""What a scheduler replaces around `fit`: the clustering, the reports and where checkpoints are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ecul.config import Config
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank, RetrievalResult

Record = Mapping[str, float]


@dataclass(frozen=True)
class Gallery:
    """Queries with the images ranked nearest, for a picture.

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
        record: the last epoch's metrics.
        gallery: of the first protocol.
    """

    epoch: int
    retrieval: tuple[RetrievalResult, ...]
    record: Record
    gallery: Gallery | None = None


class ClusteringFn(Protocol):
    """Clusters an epoch's features. Called on rank 0 only; the result goes to all ranks."""

    def __call__(self, bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        """Returns the pseudo-labels; `bank` may be read-only memory."""
        ...


class Reporter:
    """Receives a run's progress. Called on rank 0 only. Every method does nothing here; override what you need."""

    def history(self, epoch: int) -> Sequence[Record]:
        """Returns the records of the epochs up to `epoch` that were reported before a restart, if this keeps them."""
        return ()

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """A run begins.

        Args:
            config: all settings.
            provenance: what a reader needs to repeat the run, see `ecul.engine.provenance`.
            epoch: epochs that are already trained; 0 for a new run.
            history: records of those epochs.
        """

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """A step of an epoch ended; epochs and steps are counted from 1."""

    def epoch(self, record: Record) -> None:
        """An epoch ended; `record` holds its metrics by name."""

    def warn(self, message: str) -> None:
        """Something unexpected happened; the training continues."""

    def finish(self, result: FitResult) -> None:
        """The last epoch was evaluated; pictures follow."""

    def picture(self, name: str, content: bytes) -> None:
        """A picture of the finished run was drawn; `name` has no suffix, `content` is a PNG file."""

    def file(self, name: str, content: bytes) -> None:
        """A file of the run was made, such as inspection.npz; it replaces an earlier one of this name."""

    def close(self) -> None:
        """No more calls follow. `fit` does not call this; who made the reporter does, also where training failed."""


class Reporters(Reporter):
    """Passes every call to several reporters, in order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        """The first reporter that has a history provides it."""
        self._reporters = tuple(reporters)

    def history(self, epoch: int) -> Sequence[Record]:  # noqa: D102 - as in Reporter
        return next((found for reporter in self._reporters if (found := reporter.history(epoch))), ())

    def start(  # noqa: D102
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        for reporter in self._reporters:
            reporter.start(config, provenance, epoch=epoch, history=history)

    def progress(self, epoch: int, step: int, num_steps: int) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.progress(epoch, step, num_steps)

    def epoch(self, record: Record) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.epoch(record)

    def warn(self, message: str) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.warn(message)

    def finish(self, result: FitResult) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.finish(result)

    def picture(self, name: str, content: bytes) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.picture(name, content)

    def file(self, name: str, content: bytes) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.file(name, content)

    def close(self) -> None:  # noqa: D102
        for reporter in self._reporters:
            reporter.close()


class CheckpointStore(Protocol):
    """Keeps checkpoints. Called on every rank, since some stores need all of them; rank 0 writes."""

    def save(self, checkpoint: Mapping[str, Any], record: Record) -> None:
        """Keeps the state after an epoch, atomically."""
        ...

    def load(self) -> dict[str, Any] | None:
        """Returns the newest state, or None for a new run."""
        ...
