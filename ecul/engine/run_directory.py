"""The run directory: settings, metrics, warnings, pictures and the result of a run as files."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ecul.config import Config
from ecul.engine.interfaces import FitResult, Record, Reporter
from ecul.engine.run_files import CHECKPOINT_PATTERN
from ecul.files import replacing, write_atomically
from ecul.settings import config_tree, oracle_warning
from ecul.types import RetrievalResult

log = logging.getLogger(__name__)
METRICS_FILE = "metrics.jsonl"
RESULT_FILE = "result.json"
WARNINGS_FILE = "warnings.log"
REPORT_FILE = "report.html"
RUN_FILE = "run.json"


class RunDirectory(Reporter):
    """Leaves run.json, metrics.jsonl, warnings.log, result.json and the pictures in a folder."""

    def __init__(self, path: Path, *, progress: bool = False) -> None:
        """Writes nothing yet; `start` does.

        Args:
            path: the run directory; it may be missing.
            progress: draw a progress bar on the terminal.
        """
        self._path = path
        self._oracle: dict[str, str] = {}
        self._bar: tqdm | None = tqdm(leave=False, unit="step") if progress else None

    def history(self, epoch: int) -> Sequence[Record]:
        """Returns the lines of metrics.jsonl up to an epoch."""
        return [record for record in read_records(self._path) if record["epoch"] <= epoch]

    def start(
        self, config: Config, provenance: Mapping[str, Any], *, epoch: int, history: Sequence[Record] = ()
    ) -> None:
        """Writes run.json, and metrics.jsonl without the epochs that will be repeated."""
        self._path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path / METRICS_FILE, "".join(_line(record) for record in history))
        warning = oracle_warning(config)
        self._oracle = {} if warning is None else {"oracle": warning}
        description = {**self._oracle, "config": config_tree(config), **provenance, "resumed_after_epoch": epoch}
        write_atomically(self._path / RUN_FILE, json.dumps(description, indent=2) + "\n")
        log.info(
            "%s: %d training images, %d test images, on %s; run directory %s",
            provenance["dataset"],
            provenance["num_training_images"],
            provenance["num_test_images"],
            provenance["device"],
            self._path,
        )
        if warning is not None:
            self.warn(warning)

    def progress(self, epoch: int, step: int, num_steps: int) -> None:
        """Moves the progress bar."""
        if self._bar is None:
            return
        if step == 1:
            self._bar.reset(total=num_steps)
            self._bar.set_description(f"epoch {epoch}", refresh=False)
        self._bar.update()

    def epoch(self, record: Record) -> None:
        """Adds a line to metrics.jsonl and logs one."""
        if self._bar is not None:
            self._bar.clear()
        with (self._path / METRICS_FILE).open("a") as file:
            file.write(_line(record))
        log.info("%s", epoch_line(record))

    def warn(self, message: str) -> None:
        """Logs a warning and keeps it in warnings.log."""
        log.warning("%s", message)
        with (self._path / WARNINGS_FILE).open("a") as file:
            file.write(message + "\n")

    def picture(self, name: str, content: bytes) -> None:
        """Writes a picture."""
        self.file(f"{name}.png", content)

    def file(self, name: str, content: bytes) -> None:
        """Writes a file."""
        with replacing(self._path / name) as partial:
            partial.write_bytes(content)

    def finish(self, result: FitResult) -> None:
        """Writes the final metrics."""
        if self._bar is not None:
            self._bar.close()
        write_atomically(self._path / RESULT_FILE, json.dumps({**self._oracle, **result_tree(result)}, indent=2) + "\n")


def _line(record: Record) -> str:
    return json.dumps(dict(record)) + "\n"


def foreign_entries(folder: Path) -> list[str]:
    """Returns the names of what lies in a folder that is no run directory; none where a run began or may begin.

    Hidden files (locks, files half written), logs that a shell writes there and empty folders are no obstacle.

    Args:
        folder: it may be missing.
    """
    if not folder.is_dir() or (folder / RUN_FILE).is_file() or any(folder.glob(CHECKPOINT_PATTERN)):
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.suffix != ".log" and not _is_empty_folder(entry)
    )


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def read_records(run: Path) -> list[dict[str, float]]:
    """Returns the lines of a run's metrics.jsonl; empty if there is no such file."""
    path = run / METRICS_FILE
    return parse_records(path.read_text()) if path.is_file() else []


def parse_records(text: str) -> list[dict[str, float]]:
    """Returns the lines of a metrics.jsonl; a last line without its end, still being written or cut, is left out."""
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


def read_result(run: Path) -> dict[str, Any] | None:
    """Returns a run's result.json, or None for a run that has not ended."""
    path = run / RESULT_FILE
    return json.loads(path.read_text()) if path.is_file() else None


def result_tree(result: FitResult) -> dict[str, Any]:
    """Returns a result as plain data: mean, standard deviation and every trial of each protocol."""
    return {
        "epoch": result.epoch,
        "protocols": {
            retrieval.protocol: {"mean": retrieval.summary(), "trials": retrieval.trials()}
            for retrieval in result.retrieval
        },
    }


def wall_seconds(record: Record) -> float:
    """Returns the wall time of an epoch: the sum of its parts."""
    return sum(value for key, value in record.items() if key.startswith("seconds/"))


def epoch_line(record: Record) -> str:
    """Returns a one-line summary of an epoch."""
    parts = [f"epoch {int(record['epoch']):3d}"]
    if record["stage"] or record["epoch"]:
        parts.append(f"stage {record['stage']:g}")
    named = (
        ("loss", "loss/total", ".3f"),
        ("visible", "visible/clusters", ".0f"),
        ("infrared", "infrared/clusters", ".0f"),
        ("united", "united/clusters", ".0f"),
        ("both", "united/cross_modality_share", ".2f"),
        ("rank1", "evaluation/rank1", ".3f"),
        ("mAP", "evaluation/map", ".3f"),
    )
    parts += [f"{label} {record[key]:{form}}" for label, key, form in named if key in record]
    parts += [f"ORACLE {key.removeprefix('oracle/')}" for key in record if key.startswith("oracle/")]
    return "  ".join([*parts, f"{wall_seconds(record):.0f} s"])


def summary_table(results: Sequence[RetrievalResult]) -> str:
    """Returns a text table: mean and standard deviation over the trials of each protocol, in percent.

    The last columns count all queries, those without a match in the gallery, which are left out, and those that ties
    decide; where trials differ, the least and the largest number.
    """
    names = ("rank1", "rank5", "rank10", "rank20", "map", "minp")
    width = max((len(result.protocol) for result in results), default=8)
    lines = [f"{'protocol':{width}}  trials  " + "  ".join(f"{name:>12}" for name in names)]
    lines[0] += "  " + "  ".join(f"{name:>9}" for name in ("queries", "no match", "ties"))
    for result in results:
        summary = result.summary()
        cells = [
            f"{100 * summary[name]:5.2f} ± {100 * summary[name + '_std']:4.2f}" if name in summary else "-"
            for name in names
        ]
        counts = [_span(numbers) for numbers in (result.num_queries, result.num_unmatched, result.num_tied)]
        columns = [*(f"{cell:>12}" for cell in cells), *(f"{count:>9}" for count in counts)]
        lines.append(f"{result.protocol:{width}}  {len(result.cmc):6d}  " + "  ".join(columns))
    return "\n".join(lines)


def _span(numbers: NDArray[np.int64]) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return f"{low}" if low == high else f"{low}-{high}"
