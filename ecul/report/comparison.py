"""Several runs side by side: over seeds, and one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecul.plots.canvas import FIGURE_INCHES, legend_below
from ecul.plots.panels import Line, from_zero, points_of
from ecul.plots.vector import vector_style
from ecul.report.blocks import Cell, Part, Picture, Pictures, Table, Text, drawn
from ecul.report.runs import Run
from ecul.report.settings_tables import differences, value_text
from ecul.report.training import duration, percent

_METRICS = {"rank1": "Rank-1", "map": "mAP", "minp": "mINP"}
_NOT_THE_METHOD = ("seed", "warm_start", "data.trial", "runtime.", "data.root", "data.cache_gib", "data.decode_threads")
_COLOURS = colormaps["tab10"]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed at most.

    Attributes:
        name: the settings in which the groups differ.
        runs: in order.
    """

    name: str
    runs: Sequence[Run]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Returns the runs in groups of equal settings and data, but for those that only say which seed, trial, machine."""
    kept = [_method(run) for run in runs]
    paths = differences(kept)
    groups: dict[str, list[Run]] = {}
    for run, settings in zip(runs, kept, strict=True):
        name = ", ".join(f"{path}={value_text(settings.get(path))}" for path in paths) or "all runs"
        groups.setdefault(name, []).append(run)
    return [Group(name, members) for name, members in groups.items()]


def comparison_part(runs: Sequence[Run]) -> Part:
    """Returns a table over the seeds of equal settings, one of all runs, and their curves."""
    groups = grouped(runs)
    over_seeds = [
        [group.name, len(group.runs), *(_over_seeds(group.runs, metric) for metric in _METRICS), _time(group.runs)]
        for group in groups
    ]
    single = [
        [
            f"{run.name} (oracle)" if run.settings.get("oracle") else run.name,
            value_text(run.settings.get("seed")),
            *(percent(run.score(metric)) for metric in _METRICS),
            *_end(run),
        ]
        for run in runs
    ]
    names = list(_METRICS.values())
    pictures = [_curves(groups, key, title) for key, title in _CURVES.items()]
    return Part(
        "Comparison",
        [
            Text(
                "Mean ± standard deviation over the runs of a row, which differ at most in their seed or RegDB trial."
            ),
            Table("Over seeds", ["settings", "runs", *names, "time of a run"], over_seeds),
            Pictures([picture for picture in pictures if picture is not None]),
            Table("Each run", ["run", "seed", *names, "epochs", "united clusters", "noise", "time"], single),
        ],
    )


_CURVES = {
    "evaluation/map": "mAP by epoch",
    "evaluation/rank1": "Rank-1 by epoch",
    "united/clusters": "United clusters by epoch",
}


def _method(run: Run) -> dict[str, Any]:
    method = {path: value for path, value in run.settings.items() if not path.startswith(_NOT_THE_METHOD)}
    # the place of the data may differ between machines, the data may not; trials of one dataset are other files of it
    same_files = run.settings.get("data.trial") in (None, 1)
    return method | ({"data": run.facts.get("data_digest")} if same_files else {"data": None})


def _over_seeds(runs: Sequence[Run], metric: str) -> str:
    scores = [score for run in runs if (score := run.score(metric)) is not None]
    if not scores:
        return "-"
    text = percent(mean(scores), stdev(scores) if len(scores) > 1 else None)
    return text if len(scores) == len(runs) else f"{text} ({len(scores)} of {len(runs)} ended)"


def _time(runs: Sequence[Run]) -> str:
    ended = [run for run in runs if run.protocols] or runs
    return duration(mean(run.seconds for run in ended))


def _end(run: Run) -> list[Cell]:
    last = run.records[-1] if run.records else {}
    return [last.get("epoch"), last.get("united/clusters"), last.get("united/noise_share"), duration(run.seconds)]


def _curves(groups: Sequence[Group], key: str, title: str) -> Picture | None:
    """One line a run, one colour a group; None where no run has the values."""
    told: list[str] = []
    with vector_style():
        figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
        axes = figure.subplots()
        for number, group in enumerate(groups):
            for position, run in enumerate(group.runs):
                points = points_of(Line(key, "", ""), run.records)
                if points:
                    label = _short(group.name) if position == 0 else None
                    line = {"color": _COLOURS(number % 10), "linewidth": 1.4, "marker": "o", "markersize": 2.5}
                    axes.plot(*zip(*points, strict=True), label=label, **line)
                    told.append(f"{run.name} ends at {points[-1][1]:.3g}")
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        from_zero(axes)
        axes.grid(alpha=0.25)
        if len(groups) > 1:
            legend_below(figure)
        return drawn(figure, title, f"{title}: {'; '.join(told)}.") if told else None


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
