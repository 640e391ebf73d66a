"""A sweep's findings as text, and its best point as a configuration that can be run."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ecul.config import Config
from ecul.settings import config_tree
from tune.report.analysis import Findings, top_share
from tune.report.verdict import confirmation_text
from tune.study.record import TrialRow
from tune.study.rungs import FEWEST_TRIALS, LEAST_CORRELATION
from tune.text import short, table, values_text
from tune.trials.settings import trial_config

RUNGS = (
    "Rank correlation between the objective at the rung and at the end. `full.prune: auto` stops trials at trusted "
    f"rungs alone: at least {LEAST_CORRELATION} over at least {FEWEST_TRIALS} complete trials. Trials that were "
    "stopped early have no end, so the correlation over all trials may be higher."
)
"""Says what the table of the rungs is."""


def report_text(findings: Findings, *, title: str, top: int = 10) -> str:
    """Returns the whole report as Markdown."""
    parts = [f"# {title}{_verdict(findings)}", state_counts(findings)]
    if findings.confirmed is not None and findings.confirmed.confirmation is not None:
        parts.append(confirmation_text(findings.confirmed.confirmation))
    if findings.ranked:
        parts += ["## Best trials", trials_table(findings, findings.ranked[:top])]
    stopped = [row for row in findings.rows if row.state == "PRUNED"]
    if stopped:
        parts += ["## Stopped early, at their last evaluation", trials_table(findings, stopped)]
    if findings.outside:
        parts += ["## Outside the limits", limits_text(findings), trials_table(findings, findings.outside)]
    if len(findings.objectives) > 1:
        parts += ["## Not beaten in all objectives", trials_table(findings, findings.front)]
    parts += ["## Importance", _importance(findings)] if findings.ranked else []
    if findings.agreement:
        parts += ["## Label-free signals against " + findings.reference, _agreement(findings)]
    elif findings.reference:
        few = f"Too few complete trials to tell: {len(findings.ranked)}."
        parts += ["## Label-free signals against " + findings.reference, few]
    if findings.rungs:
        parts += ["## Rungs", table(*rung_rows(findings)), RUNGS]
    failed = [row for row in findings.rows if row.state == "FAIL"]
    if failed:
        parts += [
            "## Failed trials",
            "\n".join(f"- {row.number}: {row.error} ({values_text(row.values)})" for row in failed),
        ]
    return "\n\n".join(parts) + "\n"


def _verdict(findings: Findings) -> str:
    if findings.confirmed is None:
        return ""
    line = findings.confirmed.headline
    return f": {line.short} ({line.numbers})"


def rung_rows(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and a row for each rung: how its values rank the trials, compared with their last ones."""
    rows: list[list[str]] = []
    for rung in findings.rungs:
        told = not math.isnan(rung.spearman)
        numbers = [f"{rung.spearman:+.3f}", "[{:+.2f}, {:+.2f}]".format(*rung.interval)] if told else ["-", "-"]
        rows.append([str(rung.epochs), *numbers, str(rung.trials), "yes" if rung.is_trusted else "no"])
    return ["epochs trained", "rank correlation", "95 %", "complete trials", "trusted"], rows


def state_counts(findings: Findings) -> str:
    """Returns how many trials there are of each state."""
    states = Counter(row.state for row in findings.rows)
    counts = ", ".join(
        f"{states[state]} {name}"
        for state, name in (("COMPLETE", "complete"), ("PRUNED", "stopped early"), ("FAIL", "failed"))
        if states[state]
    )
    return f"{len(findings.rows)} trials: {counts or 'none'}"


def limits_text(findings: Findings) -> str:
    """Returns how many trials do not keep each limit."""
    counts = Counter(name for row in findings.outside for name in row.exceeded)
    return "Not kept: " + ", ".join(f"{name} by {count}" for name, count in counts.items()) + "."


def trials_columns(findings: Findings) -> list[str]:
    """Returns the names of the columns of `trials_rows`."""
    paths = list(dict.fromkeys(path for row in findings.rows for path in row.values))
    return ["trial", *(target.metric for target in findings.objectives), *paths, "state", "seconds"]


def trials_rows(findings: Findings, rows: Sequence[TrialRow]) -> list[list[Any]]:
    """Returns one list of plain values for each trial, in the order of `trials_columns`; None where it has none."""
    columns = trials_columns(findings)
    cells: list[list[Any]] = []
    for row in rows:
        named = {**row.values, **row.metrics, "trial": row.number, "state": row.state, "seconds": round(row.seconds, 2)}
        cells.append([named.get(name) for name in columns])
    return cells


def trials_table(findings: Findings, rows: Sequence[TrialRow]) -> str:
    """Returns trials as a Markdown table."""
    cells = [["" if cell is None else short(cell) for cell in line] for line in trials_rows(findings, rows)]
    return table(trials_columns(findings), cells)


def best_yaml(original: Config, values: Mapping[str, Any], *, origin: str) -> str:
    """Returns the original configuration with a trial's values in it, as YAML for `ecul train --config`.

    Args:
        original: as the user wrote it, which the trials changed.
        values: {path: value}.
        origin: where the values are from, for the comment on top.
    """
    tree = config_tree(trial_config(original, values))
    return f"# {origin}: {values_text(values)}\n" + yaml.safe_dump(tree, sort_keys=False)


def _importance(findings: Findings) -> str:
    if not findings.importance:
        return "Too few different trials to tell."
    rows = [[path, f"{share:.3f}"] for path, share in findings.importance.items()]
    return f"{table(['path', 'share'], rows)}\n\n{importance_text(findings)}"


def importance_text(findings: Findings) -> str:
    """Returns what the importance is, and which paths are conditional."""
    best = top_share(len(findings.ranked))
    text = f"For being among the best {best:.0%} by {findings.objectives[0].metric}, by PED-ANOVA."
    if findings.conditional:
        text += f" Only some trials have {', '.join(findings.conditional)}."
    return text


def _agreement(findings: Findings) -> str:
    best = max(row.metrics[findings.reference] for row in findings.ranked)
    rows = [
        [item.signal, "constant", "", "", ""]
        if math.isnan(item.spearman)
        else [
            item.signal,
            f"{item.spearman:+.3f}",
            "[{:+.2f}, {:+.2f}]".format(*item.interval),
            f"{item.picked:.4f}",
            str(item.tied),
        ]
        for item in findings.agreement
    ]
    text = table(["signal", "rank correlation", "95 %", f"{findings.reference} of its pick", "tied for it"], rows)
    return (
        f"{text}\n\nOver {len(findings.ranked)} complete trials, whose best {findings.reference} is {best:.4f}. "
        "The pick of tied trials is their mean. The sampler prefers good points and pruning ends weak trials, so the "
        "correlation over the whole space may be another one."
    )
