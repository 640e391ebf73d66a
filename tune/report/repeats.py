"""The table of a repetition: means and spreads, paired differences and each run, as Markdown and LaTeX."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ecul.engine.run_directory import read_records, read_result, wall_seconds
from tune.text import table, values_text
from tune.trials.grid import RepeatedRun

SCORES: Mapping[str, str] = {"rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10", "map": "mAP", "minp": "mINP"}
"""{name in a result: column}; shown in percent."""
DETAILS: Mapping[str, str] = {
    "quality/united_cross_precision": "link precision",
    "quality/united_cross_recall": "link recall",
    "united/clusters": "united clusters",
}
"""{name in the last epoch's record: column}: the links across modalities, precision and recall in percent."""
_PAIRED = ("rank1", "map", "minp")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run reached.

    Attributes:
        run: the run.
        protocols: {protocol: {score: value in [0, 1]}}, the mean over the protocol's galleries.
        details: names of `DETAILS` with their values, and `seconds`, the wall time of all epochs.
        told: whether it trained on true labels (an oracle).
    """

    run: RepeatedRun
    protocols: Mapping[str, Mapping[str, float]]
    details: Mapping[str, float]
    told: bool


def read_outcomes(runs: Sequence[RepeatedRun], folder: Path) -> list[Outcome]:
    """Returns the outcomes of those runs that are complete.

    Args:
        runs: of the repetition.
        folder: holds the runs' folders.
    """
    outcomes: list[Outcome] = []
    for run in runs:
        result = read_result(folder / run.key)
        if result is None:
            continue
        records = read_records(folder / run.key)
        last = records[-1] if records else {}
        details = {name: last[name] for name in DETAILS if name in last}
        outcomes.append(
            Outcome(
                run=run,
                protocols={name: protocol["mean"] for name, protocol in result["protocols"].items()},
                details=details | {"seconds": sum(map(wall_seconds, records))},
                told=run.config.oracle is not None,
            )
        )
    return outcomes


def report_text(outcomes: Sequence[Outcome], *, base: str, num_runs: int, failed: Mapping[str, str], title: str) -> str:
    """Returns the whole report as Markdown.

    Args:
        outcomes: of the complete runs.
        base: variant that the others are compared with.
        num_runs: runs that the repetition has when it is done.
        failed: {key: error} of the runs that failed.
        title: of the page.
    """
    parts = [f"# {title}", f"{len(outcomes)} of {num_runs} runs complete, {len(failed)} failed."]
    for protocol in protocols_of(outcomes):
        columns, rows = summary_rows(outcomes, protocol)
        parts += [f"## {protocol}", table(columns, rows)]
        differences = difference_rows(outcomes, protocol, base=base)
        if differences:
            parts.append(table(difference_columns(base), differences))
    if outcomes:
        spread = "Percent; mean ± standard deviation over runs (n - 1). Seconds are wall time of all epochs."
        told = " (oracle): trained on true labels." if any(outcome.told for outcome in outcomes) else ""
        parts += [spread + told, "## Runs", _runs_table(outcomes)]
    if failed:
        parts += ["## Failed", "\n".join(f"- {key}: {error}" for key, error in failed.items())]
    return "\n\n".join(parts) + "\n"


def summary_rows(outcomes: Sequence[Outcome], protocol: str) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and a row for each variant: mean and standard deviation over its runs.

    Args:
        outcomes: of the complete runs.
        protocol: name.
    """
    chosen = [outcome for outcome in outcomes if protocol in outcome.protocols]
    scores = [name for name in SCORES if any(name in outcome.protocols[protocol] for outcome in chosen)]
    details = [name for name in DETAILS if any(name in outcome.details for outcome in chosen)]
    rows: list[list[str]] = []
    for name in variants_of(chosen):
        own = [outcome for outcome in chosen if outcome.run.variant == name]
        cells = [spread([outcome.protocols[protocol].get(score, math.nan) for outcome in own]) for score in scores]
        for detail in details:
            scale = 1 if detail.endswith("clusters") else 100
            cells.append(spread([outcome.details.get(detail, math.nan) for outcome in own], scale=scale))
        cells.append(f"{mean(outcome.details['seconds'] for outcome in own):.0f}")
        rows.append([_label(own[0]), *cells, str(len(own))])
    return ["", *(SCORES[name] for name in scores), *(DETAILS[name] for name in details), "seconds", "runs"], rows


def difference_columns(base: str) -> list[str]:
    """Returns the columns of `difference_rows`."""
    return [f"minus {base}, pairs", *(SCORES[name] for name in _PAIRED), "pairs"]


def difference_rows(outcomes: Sequence[Outcome], protocol: str, *, base: str) -> list[list[str]]:
    """Returns a row for each variant but the base: the mean difference to it over runs with equal values.

    Args:
        outcomes: of the complete runs.
        protocol: name.
        base: variant to compare with.
    """
    chosen = [outcome for outcome in outcomes if protocol in outcome.protocols]
    bases = {_pair(outcome): outcome for outcome in chosen if outcome.run.variant == base}
    rows: list[list[str]] = []
    for name in variants_of(chosen):
        pairs = [
            (outcome.protocols[protocol], bases[_pair(outcome)].protocols[protocol])
            for outcome in chosen
            if outcome.run.variant == name != base and _pair(outcome) in bases
        ]
        if pairs:
            cells = [spread([own[score] - other[score] for own, other in pairs], sign=True) for score in _PAIRED]
            rows.append([name, *cells, str(len(pairs))])
    return rows


def latex_table(outcomes: Sequence[Outcome]) -> str:
    """Returns the means and spreads of all protocols as a LaTeX tabular (package booktabs)."""
    lines: list[str] = []
    for protocol in protocols_of(outcomes):
        columns, rows = summary_rows(outcomes, protocol)
        kept = [position for position, column in enumerate(columns) if column in ("", *SCORES.values())]
        head = [_escaped(protocol), *(columns[position] for position in kept[1:])]
        lines += [f"\\begin{{tabular}}{{l{'c' * (len(kept) - 1)}}}", "\\toprule", _latex_line(head), "\\midrule"]
        for row in rows:
            numbers = [f"${row[position].replace('±', chr(92) + 'pm')}$" for position in kept[1:]]
            lines.append(_latex_line([_escaped(row[0]), *numbers]))
        lines += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(lines)


def spread(values: Sequence[float], *, scale: float = 100, sign: bool = False) -> str:
    """Returns `mean ± standard deviation` of values times `scale`; one value stands alone, and `-` for unknown ones."""
    known = [scale * value for value in values if not math.isnan(value)]
    if not known:
        return "-"
    form = "+.1f" if sign else ".1f"
    text = format(mean(known), form)
    return f"{text} ± {stdev(known):.1f}" if len(known) > 1 else text


def _runs_table(outcomes: Sequence[Outcome]) -> str:
    rows = [
        [outcome.run.key, values_text(outcome.run.values), protocol]
        + [f"{100 * scores[name]:.2f}" if name in scores else "-" for name in _PAIRED]
        for outcome in outcomes
        for protocol, scores in outcome.protocols.items()
    ]
    return table(["run", "values", "protocol", *(SCORES[name] for name in _PAIRED)], rows)


def protocols_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Returns the protocols of all outcomes, in order."""
    return list(dict.fromkeys(name for outcome in outcomes for name in outcome.protocols))


def variants_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Returns the variants of all outcomes, in order."""
    return list(dict.fromkeys(outcome.run.variant for outcome in outcomes))


def _label(outcome: Outcome) -> str:
    return f"{outcome.run.variant} (oracle)" if outcome.told else outcome.run.variant


def _pair(outcome: Outcome) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((path, str(value)) for path, value in outcome.run.values.items()))


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")
