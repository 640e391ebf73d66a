"""A repetition as parts of `ecul report`'s page: tables, a picture of every run, and the runs themselves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from ecul.files import write_atomically
from ecul.plots.vector import svg_text, vector_style
from ecul.report.stored import StoredPart, StoredPicture, StoredReport, StoredTable
from tune.report.repeats import (
    Outcome,
    difference_columns,
    difference_rows,
    protocols_of,
    spread,
    summary_rows,
    variants_of,
)

_SCORE, _SCORE_NAME = "map", "mAP"
_SHOWN_RUNS = 12
_ROW_INCHES = 0.28
_DOT, _MEAN = "#1f77b4", "#d62728"


def stored_report(
    outcomes: Sequence[Outcome],
    folder: Path,
    *,
    base: str,
    num_runs: int,
    failed: Mapping[str, str],
    trials: str,
    title: str,
) -> StoredReport:
    """Returns the page of a repetition, and writes its pictures.

    Args:
        outcomes: of the complete runs.
        folder: of the repetition; pictures go into its `report`.
        base: variant that the others are compared with.
        num_runs: runs that the repetition has when it is done.
        failed: {key: error} of the runs that failed.
        trials: folder of the run directories inside `folder`.
        title: of the page.

    Raises:
        OSError: a picture cannot be written.
    """
    parts = [_part(outcomes, protocol, folder, base) for protocol in protocols_of(outcomes)]
    if failed:
        table = StoredTable(caption="Runs that failed", columns=("run", "error"), rows=tuple(failed.items()))
        parts.append(StoredPart(title="Failed", tables=(table,)))
    subtitle = f"{len(outcomes)} of {num_runs} runs complete, {len(failed)} failed"
    shown = outcomes
    if len(outcomes) > _SHOWN_RUNS:  # a page of all of them would be read by nobody
        shown = [outcome for outcome in outcomes if outcome.run.variant == base][:_SHOWN_RUNS]
        subtitle += f"; details of {len(shown)} runs of {base} only"
    runs = tuple(f"{trials}/{outcome.run.key}" for outcome in shown)
    return StoredReport(title=title, subtitle=subtitle, parts=tuple(parts), runs=runs)


def _part(outcomes: Sequence[Outcome], protocol: str, folder: Path, base: str) -> StoredPart:
    columns, rows = summary_rows(outcomes, protocol)
    columns[0] = columns[0] or "variant"
    tables = [StoredTable(caption="Means and spreads, percent", columns=tuple(columns), rows=tuple(map(tuple, rows)))]
    if differences := difference_rows(outcomes, protocol, base=base):
        caption, names = f"Paired differences to {base}, points of percent", tuple(difference_columns(base))
        tables.append(StoredTable(caption=caption, columns=names, rows=tuple(map(tuple, differences))))
    text = "Mean ± standard deviation over runs (n - 1). Seconds are wall time of all epochs."
    if any(outcome.told for outcome in outcomes):
        text += " (oracle): trained on true labels."
    picture = _picture(outcomes, protocol, folder / "report")
    return StoredPart(title=protocol, texts=(text,), tables=tuple(tables), pictures=(picture,) if picture else ())


def _picture(outcomes: Sequence[Outcome], protocol: str, folder: Path) -> StoredPicture | None:
    """A dot for each run, a line for each variant's mean; None where no run has the score."""
    chosen = [outcome for outcome in outcomes if _SCORE in outcome.protocols.get(protocol, {})]
    scores = {
        name: [outcome.protocols[protocol][_SCORE] for outcome in chosen if outcome.run.variant == name]
        for name in variants_of(chosen)
    }
    scores = {name: known for name, values in scores.items() if (known := [v for v in values if math.isfinite(v)])}
    if not scores:
        return None
    title = f"{_SCORE_NAME} of each run, percent; line: mean"
    with vector_style():
        figure = Figure(figsize=(4.8, 1.1 + _ROW_INCHES * len(scores)), layout="constrained")
        axes = figure.subplots()
        for row, values in enumerate(scores.values()):
            axes.scatter([100 * value for value in values], [row] * len(values), s=16, color=_DOT, zorder=2)
            axes.vlines(100 * mean(values), row - 0.35, row + 0.35, color=_MEAN, linewidth=2)
        axes.set_yticks(range(len(scores)), list(scores), fontsize=8)
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(alpha=0.25)
        file = folder / f"{protocol}.svg"
        write_atomically(file, svg_text(figure))
    told = "; ".join(f"{name} {spread(values)}" for name, values in scores.items())
    return StoredPicture(title=title, alt=f"{title}. {told}.", file=file.name)
