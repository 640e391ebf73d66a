"""What the report reads: run directories, and parts that other programs have written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecul.engine.inspection_file import INSPECTION_FILE, StoredInspection, read_inspection
from ecul.engine.run_directory import METRICS_FILE, RESULT_FILE, RUN_FILE, WARNINGS_FILE, read_records, wall_seconds
from ecul.errors import DataError
from ecul.plots.panels import by_epoch
from ecul.report.stored import STORED_FILE, StoredReport, read_stored

FILES = (RUN_FILE, RESULT_FILE, METRICS_FILE, WARNINGS_FILE, INSPECTION_FILE)
"""All that a report reads of a run directory."""
_DEPTH = 4


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run directory, read.

    Attributes:
        name: different from that of every other run of the page.
        settings: {dotted path: value}.
        facts: the rest of run.json: versions, commit, dataset, ...
        records: of the epochs, in order, finite and other numbers alone.
        protocols: result.json: {protocol: {`mean`: {metric: value}, ...}}; empty where the run did not end.
        inspection: the last evaluated epoch's; None where there is none.
        warnings: lines of warnings.log.
    """

    name: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
    records: Sequence[Mapping[str, float]]
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    inspection: StoredInspection | None = None
    warnings: Sequence[str] = ()

    def score(self, metric: str) -> float | None:
        """Returns a metric of the first protocol, mean over its trials, such as `map` or `map_std`."""
        first = next(iter(self.protocols.values()), {})
        value = first.get("mean", {}).get(metric) if isinstance(first.get("mean"), Mapping) else None
        return float(value) if isinstance(value, int | float) else None

    @property
    def seconds(self) -> float:
        """Seconds of all phases of all epochs."""
        return sum(map(wall_seconds, self.records))


@dataclass(frozen=True)
class Found:
    """What paths lead to.

    Attributes:
        runs: in the order of the paths.
        stored: reports of other programs, each with its folder.
    """

    runs: Sequence[Run]
    stored: Sequence[tuple[Path, StoredReport]]


def find(paths: Sequence[Path]) -> Found:
    """Returns the runs and stored reports that paths lead to.

    Args:
        paths: run directories, folders with a stored report, or folders with run directories in them.

    Raises:
        DataError: a path leads to none, or a file in it is damaged.
    """
    folders: dict[Path, None] = {}
    stored: list[tuple[Path, StoredReport]] = []
    for path in paths:
        if not path.is_dir():
            raise DataError(f"no folder {path}; give run directories, sweeps, or folders with runs in them")
        if (path / RUN_FILE).is_file():
            folders[path] = None
            continue
        report = read_stored(path)
        if report is not None:
            stored.append((path, report))
            folders |= {path / name: None for name in report.runs if (path / name / RUN_FILE).is_file()}
            continue
        below = list(_runs_below(path, _DEPTH))
        if not below:
            raise DataError(
                f"{path} holds neither a run ({RUN_FILE}) nor a stored report ({STORED_FILE}), nor do its folders; "
                "give a run directory, or write a sweep's report first: python -m tune.results NAME"
            )
        folders |= dict.fromkeys(below)
    runs = [read_run(folder, name) for folder, name in zip(folders, _names(list(folders)), strict=True)]
    return Found(runs, stored)


def read_run(folder: Path, name: str) -> Run:
    """Returns a run.

    Args:
        folder: the run directory.
        name: for the page.

    Raises:
        DataError: a file is damaged. Only run.json must be there.
    """
    description = _json(folder / RUN_FILE)
    result = _json(folder / RESULT_FILE) if (folder / RESULT_FILE).is_file() else {}
    try:
        records = [{k: v for k, v in record.items() if _is_number(v)} for record in read_records(folder)]
    except (ValueError, AttributeError) as error:
        raise DataError(f"{folder / METRICS_FILE} is damaged ({error}); remove the lines that are no JSON") from None
    protocols = result.get("protocols", {})
    warnings, inspection = folder / WARNINGS_FILE, folder / INSPECTION_FILE
    return Run(
        name=name,
        settings=flat(description.get("config") or {}),
        facts={key: value for key, value in description.items() if key != "config"},
        records=by_epoch(records),
        protocols=protocols if isinstance(protocols, Mapping) else {},
        inspection=read_inspection(inspection) if inspection.is_file() else None,
        warnings=warnings.read_text(encoding="utf-8", errors="replace").splitlines() if warnings.is_file() else (),
    )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns {dotted path: value} of a nested mapping."""
    paths: dict[str, Any] = {}
    for name, value in tree.items():
        paths |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return paths


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            if (path / RUN_FILE).is_file():
                yield path
            elif depth > 1:
                yield from _runs_below(path, depth - 1)


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of those above them as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _json(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); resume the run, or leave it out") from None
    if not isinstance(tree, dict):
        raise DataError(f"{path} holds {type(tree).__name__}, expected the keys of a run")
    return tree


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
