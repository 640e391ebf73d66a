"""The runs of a repetition on disk: which are complete, and why others failed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecul.engine.run_directory import read_result
from ecul.files import write_atomically
from tune.trials.grid import RepeatedRun


@dataclass(frozen=True)
class RunsOnDisk:
    """Where runs are kept. One process at a time writes there.

    Attributes:
        folder: holds a run directory for each run, under its key.
        failed_file: JSON, {key: error} of the runs whose last attempt failed.
    """

    folder: Path
    failed_file: Path

    def missing(self, runs: Sequence[RepeatedRun]) -> list[RepeatedRun]:
        """Returns the runs that are not complete, those that failed among them."""
        return [run for run in runs if not self.is_complete(run.key)]

    def is_complete(self, key: str) -> bool:
        """Returns whether a run was trained to its end."""
        return read_result(self.folder / key) is not None

    def failures(self) -> dict[str, str]:
        """Returns {key: error} of the runs that failed."""
        noted = json.loads(self.failed_file.read_text()) if self.failed_file.is_file() else {}
        # a run may have been completed by a driver that was killed before it could say so
        return {key: error for key, error in noted.items() if not self.is_complete(key)}

    def note(self, key: str, error: str) -> None:
        """Writes down how a run ended.

        Args:
            key: of the run.
            error: empty for a complete run.
        """
        failed = self.failures()
        failed.pop(key, None)
        if error:
            failed[key] = error
        write_atomically(self.failed_file, json.dumps(failed, indent=1) + "\n")
