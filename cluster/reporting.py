"""Reports of a training over Ray: the run directory on any storage, events, profiler and experiment tracker."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cluster.gauges import Gauges
from cluster.ray_job import ray_job
from cluster.scratch import ScratchFolder
from cluster.storage import RunFolder, epoch_records, record_event
from cluster.tracking.interface import TrackerSettings
from cluster.tracking.registry import is_tracked
from cluster.tracking.reporter import TrackingReporter
from ecul import runtime
from ecul.config import Config
from ecul.engine.interfaces import FitResult, Record, Reporter, Reporters
from ecul.engine.profiling import Profiler
from ecul.engine.run_directory import WARNINGS_FILE, RunDirectory


class RemoteRunDirectory(RunDirectory):
    """A run directory on remote storage: written locally, and copied there after each epoch."""

    def __init__(self, folder: RunFolder) -> None:
        """Writes nothing there yet; `folder` is the run's."""
        self._folder = folder
        self._scratch = ScratchFolder("run")
        self._local = self._scratch.path
        super().__init__(self._local)

    def history(self, epoch: int) -> Sequence[Record]:
        """Returns the remote lines of metrics.jsonl up to an epoch."""
        return [record for record in epoch_records(self._folder) if record["epoch"] <= epoch]

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """Writes the first files. On resume, earlier warnings are fetched so that they are kept."""
        if epoch and (content := self._folder.read(WARNINGS_FILE)) is not None:
            (self._local / WARNINGS_FILE).write_bytes(content)
        super().start(config, provenance, epoch=epoch, history=history)
        self._folder.upload(self._local)

    def epoch(self, record: Record) -> None:
        """Writes the epoch's metrics."""
        super().epoch(record)
        self._folder.upload(self._local)

    def picture(self, name: str, content: bytes) -> None:
        """Writes a picture."""
        self.file(f"{name}.png", content)

    def file(self, name: str, content: bytes) -> None:
        """Writes a file."""
        self._folder.write(name, content)

    def finish(self, result: FitResult) -> None:
        """Writes the final metrics."""
        super().finish(result)
        self._folder.upload(self._local)

    def close(self) -> None:
        """Removes the local copy."""
        super().close()
        self._scratch.remove()


class Events(Reporter):
    """Adds each start, warning and end to the run's events."""

    def __init__(self, folder: RunFolder) -> None:
        """Writes nothing yet; `folder` is the run's."""
        self._folder = folder

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """Records after which epoch the run starts, its number of workers, and its Ray job."""
        record_event(self._folder, "training", after_epoch=epoch, num_workers=runtime.world_size(), **ray_job())

    def warn(self, message: str) -> None:
        """Records the warning."""
        record_event(self._folder, "warning", message=message)

    def finish(self, result: FitResult) -> None:
        """Records the end."""
        record_event(self._folder, "finished", epoch=result.epoch)


def add_remote_report(folder: RunFolder, reporter: Reporter) -> None:
    """Hands the page of a finished run, on any storage, to its reporter."""
    from ecul.report.finish import add_report  # matplotlib is slow to import
    from ecul.report.runs import FILES

    if folder.local is not None:
        add_report(folder.local, reporter)
        return
    scratch = ScratchFolder("report")
    copy = scratch.path / folder.name
    try:
        copy.mkdir()
        for file in FILES:
            if (content := folder.read(file)) is not None:
                (copy / file).write_bytes(content)
        add_report(copy, reporter)
    finally:
        scratch.remove()


@contextmanager
def open_reporter(folder: RunFolder, *, tracker: TrackerSettings, profile: bool) -> Iterator[Reporter]:
    """Yields the run's reporter, and closes it also where training fails.

    Args:
        folder: of the run.
        tracker: experiment tracker.
        profile: leave a profiler trace of some steps in the run.
    """
    if not runtime.is_main():  # reporters are called on rank 0 only
        yield Reporter()
        return
    directory = RunDirectory(folder.local) if folder.local is not None else RemoteRunDirectory(folder)
    record = Reporters([directory, Events(folder), Gauges(folder.name)])
    extra: list[Reporter] = [Profiler(folder.write)] if profile else []
    if is_tracked(tracker):
        # A tracker's failure is a warning of the run, so it goes to the reporters that record it.
        extra.append(TrackingReporter(folder, tracker, record.warn))
    reporter = Reporters([record, *extra])
    try:
        yield reporter
    finally:
        reporter.close()
