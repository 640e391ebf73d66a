"""A sweep's findings as parts of `ecul report`'s page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecul.report.stored import StoredPart, StoredPicture, StoredReport, StoredTable
from tune.report.analysis import Findings
from tune.report.markdown import (
    RUNGS,
    importance_text,
    limits_text,
    rung_rows,
    state_counts,
    trials_columns,
    trials_rows,
)
from tune.report.verdict import Confirmed, failures, rule_text, score_rows
from tune.roles import label_of
from tune.study.record import TrialRow

_TOP = 10
_PICTURES = {
    "history": (
        "Objective by trial",
        "Points: {metric} of each trial in the order they began; a line: the best so far",
    ),
    "front": ("Trials that none beats", "Points: the first two objectives of each complete trial, those on the front"),
    "slices": ("{metric} by each setting", "Points: {metric} of the complete trials over the value of each setting"),
    "parallel": ("All complete trials", "One line a trial through the values of its settings, coloured by {metric}"),
    "k2-k3": ("Best {metric} at each k2 and k3", "Squares: the best {metric} reached at each pair of k2 and k3"),
    "label-free": ("Signals without labels", "Points: {metric} over each signal that needs no identities"),
    "optuna-contour": ("Contour, by Optuna", "Height lines of {metric} over pairs of the settings that matter most"),
    "optuna-rank": ("Rank, by Optuna", "Trials over pairs of the settings that matter most, coloured by their rank"),
    "optuna-edf": ("Distribution, by Optuna", "Share of the trials whose {metric} is at most a value"),
    "optuna-timeline": ("Timeline, by Optuna", "A bar a trial from its start to its end, coloured by its state"),
}
_WIDE = ("parallel", "slices", "label-free", "optuna-contour", "optuna-rank")


def stored_report(findings: Findings, pictures: Sequence[Path], *, title: str, best_config: bool) -> StoredReport:
    """Returns a sweep's page.

    Args:
        findings: of the sweep.
        pictures: PNG files, each with an SVG file of its name beside it.
        title: of the sweep.
        best_config: whether best.yaml was written.
    """
    confirmed = findings.confirmed
    parts = [] if confirmed is None else _confirmation(confirmed)
    parts += [StoredPart(title="Best trials", texts=_best(findings, best_config), tables=_tables(findings))]
    if pictures:
        shown = sorted((_picture(path, findings) for path in pictures), key=lambda picture: picture.wide)
        parts.append(StoredPart(title="Pictures", pictures=tuple(shown)))
    if findings.outside:
        outside = _table("Complete trials outside the limits", findings, findings.outside, folded=True)
        parts.append(StoredPart(title="Outside the limits", texts=(limits_text(findings),), tables=(outside,)))
    parts += _importance(findings)
    parts += _agreement(findings)
    parts += _rungs(findings)
    everything = _table(f"All {len(findings.rows)} closed trials", findings, findings.rows, folded=True)
    parts.append(StoredPart(title="All trials", tables=(everything,)))
    counts = state_counts(findings)
    if confirmed is None:
        return StoredReport(title=title, subtitle=counts, parts=tuple(parts))
    line = confirmed.headline
    return StoredReport(title=f"{title}: {line.short}", subtitle=f"{line.numbers}. {counts}", parts=tuple(parts))


def _confirmation(confirmed: Confirmed) -> list[StoredPart]:
    if (confirmation := confirmed.confirmation) is None:
        return []
    columns, rows = score_rows(confirmation)
    table = StoredTable(
        caption=f"{confirmation.metric} after full trainings", columns=tuple(columns), rows=tuple(map(tuple, rows))
    )
    line = confirmed.headline
    texts = (f"{line.short[0].upper()}{line.short[1:]}: {line.numbers}.", rule_text(confirmation))
    return [StoredPart(title="Confirmation with other seeds", texts=(*texts, *failures(confirmation)), tables=(table,))]


def _best(findings: Findings, best_config: bool) -> tuple[str, ...]:
    if not findings.ranked:
        return ("No trial is complete yet.",)
    target, best = findings.objectives[0], findings.ranked[0]
    text = f"Trial {best.number} has the best {target.metric}: {best.metrics[target.metric]:.4f}."
    if best_config and findings.confirmed is None:
        text += " Its configuration is report/best.yaml; python -m tune.compare checks it with other seeds."
    return (text,)


def _tables(findings: Findings) -> tuple[StoredTable, ...]:
    tables = [_table("Complete trials, best first", findings, findings.ranked[:_TOP])] if findings.ranked else []
    if findings.front:
        tables.append(_table("Not beaten in all objectives", findings, findings.front))
    return tuple(tables)


def _table(caption: str, findings: Findings, rows: Sequence[TrialRow], *, folded: bool = False) -> StoredTable:
    cells = tuple(tuple(_cell(value) for value in line) for line in trials_rows(findings, rows))
    return StoredTable(
        caption=caption, columns=tuple(map(label_of, trials_columns(findings))), rows=cells, folded=folded
    )


def _importance(findings: Findings) -> list[StoredPart]:
    if not findings.importance:
        return []
    rows = tuple((path, round(share, 3)) for path, share in findings.importance.items())
    table = StoredTable(caption="Importance (PED-ANOVA)", columns=("setting", "share"), rows=rows)
    return [StoredPart(title="Importance", texts=(importance_text(findings),), tables=(table,))]


def _agreement(findings: Findings) -> list[StoredPart]:
    if not findings.agreement:
        return []
    rows = tuple(
        (item.signal, item.spearman, *item.interval, round(item.picked, 4), item.tied) for item in findings.agreement
    )
    columns = ("signal", "rank correlation", "95 % from", "to", f"{findings.reference} of its pick", "tied for it")
    table = StoredTable(caption=f"Agreement with {findings.reference}", columns=columns, rows=rows)
    text = f"How well signals that need no identities order the {len(findings.ranked)} complete trials."
    return [StoredPart(title="Signals without labels", texts=(text,), tables=(table,))]


def _rungs(findings: Findings) -> list[StoredPart]:
    if not findings.rungs:
        return []
    columns, rows = rung_rows(findings)
    table = StoredTable(
        caption="Values at the rungs against the last ones", columns=tuple(columns), rows=tuple(map(tuple, rows))
    )
    return [StoredPart(title="Rungs", texts=(RUNGS,), tables=(table,))]


def _picture(path: Path, findings: Findings) -> StoredPicture:
    metric = findings.objectives[0].metric
    title, alt = (text.format(metric=metric) for text in _PICTURES[path.stem])
    if findings.ranked:
        alt += f". Best: trial {findings.ranked[0].number}, {findings.ranked[0].metrics[metric]:.4f}"
    return StoredPicture(title=title, alt=f"{alt}.", file=f"{path.stem}.svg", wide=path.stem in _WIDE)


def _cell(value: Any) -> str | int | float | None:
    plain = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if plain else str(value)
