"""Pictures of a sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ecul.plots.canvas import save_figure
from tune.config import ObjectiveConfig
from tune.report.analysis import Findings, Row
from tune.space.search_space import Choice, Domain, SearchSpace

_COLOURS = colormaps["viridis"]
_HEAT = ("clustering.k2", "clustering.k3")


def draw_all(findings: Findings, space: SearchSpace, folder: Path) -> list[Path]:
    """Writes every picture that the trials allow and returns the files.

    Raises:
        OSError: one cannot be written.
    """
    if not findings.ranked:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"history": _history(findings), "parallel": _parallel(findings, space), "slices": _slices(findings, space)}
    if all(path in space.domains for path in _HEAT):
        drawn["k2-k3"] = _heat(findings)
    if len(findings.objectives) > 1:
        drawn["front"] = _front(findings)
    if findings.agreement:
        drawn["label-free"] = _agreement(findings)
    for name, figure in drawn.items():
        save_figure(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in drawn]


def _history(findings: Findings) -> Figure:
    target = findings.objectives[0]
    figure, axes = _axes("Objective by trial", "trial", target.metric)
    rows = [row for row in findings.rows if target.metric in row.metrics]
    for state, colour, name in (("COMPLETE", "#1f77b4", "complete"), ("PRUNED", "#bbbbbb", "stopped early")):
        points = [(row.number, row.metrics[target.metric]) for row in rows if row.state == state]
        if points:
            axes.scatter(*zip(*points, strict=True), s=14, color=colour, label=name)
    done = [row for row in rows if row.state == "COMPLETE"]
    reduce = np.maximum if target.mode == "max" else np.minimum
    best = reduce.accumulate([row.metrics[target.metric] for row in done])
    axes.step([row.number for row in done], best, where="post", color="#d62728", linewidth=1.5, label="best so far")
    axes.legend(fontsize=8, frameon=False)
    return figure


def _parallel(findings: Findings, space: SearchSpace) -> Figure:
    target = findings.objectives[0]
    paths = list(space.domains)
    figure = Figure(figsize=(max(6.0, 1.7 * len(paths)), 5), layout="constrained")
    axes = figure.subplots()
    scale = _scale(findings.ranked, target)
    for row in [*findings.ranked][::-1]:
        heights = [_height(space.domains[path], row.values.get(path)) for path in paths]
        axes.plot(heights, color=_COLOURS(scale(row.metrics[target.metric])), linewidth=1, alpha=0.7)
    for place, path in enumerate(paths):
        for height, text in _ends(space.domains[path]):
            axes.annotate(text, (place, height), fontsize=7, ha="center", va="center", color="#444444")
    axes.set_xticks(range(len(paths)), [_short(path) for path in paths], fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.1, 1.1)
    axes.set_title("All complete trials, one line each", loc="left", fontsize=11)
    _colour_bar(figure, axes, scale, target)
    return figure


def _slices(findings: Findings, space: SearchSpace) -> Figure:
    target = findings.objectives[0]
    paths = list(space.domains)
    columns = min(3, len(paths))
    rows = -(-len(paths) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for path, axes in zip(paths, panels, strict=False):
        points = [(row.values[path], row.metrics[target.metric]) for row in findings.ranked if path in row.values]
        domain = space.domains[path]
        if isinstance(domain, Choice):
            points = [(str(value), score) for value, score in points]
        elif domain.log:
            axes.set_xscale("log")
        if points:
            axes.scatter(*zip(*points, strict=True), s=12, alpha=0.6, color="#1f77b4")
        axes.set_xlabel(_short(path))
        axes.set_ylabel(target.metric, fontsize=8)
        axes.grid(alpha=0.25)
    for axes in [*panels]:
        axes.remove()
    return figure


def _heat(findings: Findings) -> Figure:
    """The best objective that any trial reached at each k2 and k3."""
    target = findings.objectives[0]
    figure, axes = _axes("Best objective at each k2 and k3", "k2", "k3")
    cells: dict[tuple[Any, Any], float] = {}
    for row in findings.ranked:
        if all(path in row.values for path in _HEAT):
            cells.setdefault((row.values[_HEAT[0]], row.values[_HEAT[1]]), row.metrics[target.metric])
    if cells:
        scale = _scale(findings.ranked, target)
        places = np.array(list(cells))
        axes.scatter(places[:, 0], places[:, 1], c=_COLOURS(scale(np.array([*cells.values()]))), s=60, marker="s")
        _colour_bar(figure, axes, scale, target)
    return figure


def _front(findings: Findings) -> Figure:
    first, second = findings.objectives[:2]
    figure, axes = _axes("Trials, and those that none beats in all objectives", first.metric, second.metric)
    for rows, colour, name in ((findings.ranked, "#bbbbbb", "trials"), (findings.front, "#d62728", "front")):
        points = [(row.metrics[first.metric], row.metrics[second.metric]) for row in rows]
        if points:
            axes.scatter(*zip(*points, strict=True), s=16, color=colour, label=name)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _agreement(findings: Findings) -> Figure:
    columns = min(3, len(findings.agreement))
    rows = -(-len(findings.agreement) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for item, axes in zip(findings.agreement, panels, strict=False):
        points = [(row.metrics[item.signal], row.metrics[findings.judge]) for row in findings.ranked]
        axes.scatter(*zip(*points, strict=True), s=12, alpha=0.6, color="#9467bd")
        axes.set_title(f"rank correlation {item.spearman:.2f}", fontsize=9)
        axes.set_xlabel(item.signal)
        axes.set_ylabel(findings.judge, fontsize=8)
        axes.grid(alpha=0.25)
    for axes in [*panels]:
        axes.remove()
    return figure


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    return figure, axes


def _scale(rows: Sequence[Row], target: ObjectiveConfig) -> Normalize:
    scores = [row.metrics[target.metric] for row in rows]
    return Normalize(min(scores), max(scores))


def _colour_bar(figure: Figure, axes: Axes, scale: Normalize, target: ObjectiveConfig) -> None:
    from matplotlib.cm import ScalarMappable

    figure.colorbar(ScalarMappable(scale, _COLOURS), ax=axes, label=target.metric)


def _height(domain: Domain, value: Any) -> float:
    if value is None:
        return float("nan")
    if isinstance(domain, Choice):
        return domain.options.index(value) / max(len(domain.options) - 1, 1)
    return domain.share_of(value)


def _ends(domain: Domain) -> list[tuple[float, str]]:
    if isinstance(domain, Choice):
        return [(_height(domain, option), str(option)) for option in domain.options]
    return [(-0.04, f"{domain.low:g}"), (1.04, f"{domain.high:g}")]


def _short(path: str) -> str:
    return path.removeprefix("clustering.").removeprefix("memory.")
