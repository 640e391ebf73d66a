"""Pictures of a sweep.

Drawn here and not by `optuna.visualization.matplotlib`, as far as that leaves out the trials that were stopped early
or its labels overlap from about five paths on. The others are Optuna's own: `tune.report.optuna_plots`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ecul.files import write_atomically
from ecul.plots.canvas import save_figure
from ecul.plots.vector import svg_text, vector_style
from tune.config import ObjectiveConfig
from tune.report.analysis import Findings
from tune.roles import K2, K3, label_of
from tune.space.domains import Choice, Domain
from tune.space.search_space import SearchSpace
from tune.study.record import TrialRow

_COLOURS = colormaps["viridis"]


def draw_all(findings: Findings, space: SearchSpace, folder: Path) -> list[Path]:
    """Writes every picture that the trials allow as PNG and as SVG, and returns the PNG files.

    Raises:
        OSError: one cannot be written.
    """
    if not findings.ranked:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with vector_style():
        figures = _figures(findings, space)
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
            write_atomically(folder / f"{name}.svg", svg_text(figure))
    return [folder / f"{name}.png" for name in figures]


def _figures(findings: Findings, space: SearchSpace) -> dict[str, Figure]:
    figures = {
        "history": _history(findings),
        "parallel": _parallel(findings, space),
        "slices": _slices(findings, space),
    }
    if K2 in space.paths and K3 in space.paths:
        figures["k2-k3"] = _best_by_k2_and_k3(findings)
    if len(findings.objectives) > 1:
        figures["front"] = _front(findings)
    if findings.agreement:
        figures["label-free"] = _agreement(findings)
    return figures


def _history(findings: Findings) -> Figure:
    target = findings.objectives[0]
    figure, axes = _axes("Objective by trial", "trial", target.metric)
    rows = [row for row in findings.rows if target.metric in row.metrics]
    for state, colour, name in (("COMPLETE", "#1f77b4", "complete"), ("PRUNED", "#bbbbbb", "stopped early")):
        points = [(row.number, row.metrics[target.metric]) for row in rows if row.state == state]
        _scatter(axes, points, size=14, colour=colour, label=name)
    complete = [row for row in rows if row.state == "COMPLETE"]
    better = np.maximum if target.mode == "max" else np.minimum
    best = better.accumulate([row.metrics[target.metric] for row in complete])
    axes.step([row.number for row in complete], best, where="post", color="#d62728", linewidth=1.5, label="best so far")
    axes.legend(fontsize=8, frameon=False)
    return figure


def _parallel(findings: Findings, space: SearchSpace) -> Figure:
    target = findings.objectives[0]
    domains = space.paths
    paths = list(domains)
    figure = Figure(figsize=(max(6.0, 1.7 * len(paths)), 5), layout="constrained")
    axes = figure.subplots()
    scale = _scale(findings.ranked, target)
    for row in reversed(findings.ranked):  # the best on top
        heights = [_height(domains[path], row.values.get(path)) for path in paths]
        axes.plot(heights, color=_COLOURS(scale(row.metrics[target.metric])), linewidth=1, alpha=0.7)
    for place, path in enumerate(paths):
        for height, text in _ends(domains[path]):
            axes.annotate(text, (place, height), fontsize=7, ha="center", va="center", color="#444444")
    axes.set_xticks(range(len(paths)), [label_of(path) for path in paths], fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.1, 1.1)
    axes.set_title("All complete trials, one line each", loc="left", fontsize=11)
    _colour_bar(figure, axes, scale, target)
    return figure


def _slices(findings: Findings, space: SearchSpace) -> Figure:
    target = findings.objectives[0]
    figure, panels = _panels(len(space.paths))
    _heading(figure, f"{target.metric} by each setting")
    for (path, domain), axes in zip(space.paths.items(), panels, strict=True):
        points = [(row.values[path], row.metrics[target.metric]) for row in findings.ranked if path in row.values]
        if isinstance(domain, Choice):
            points = [(str(value), score) for value, score in points]
        elif domain.log:
            axes.set_xscale("log")
        _scatter(axes, points, colour="#1f77b4", alpha=0.6)
        axes.set_xlabel(label_of(path))
        axes.set_ylabel(target.metric, fontsize=8)
    return figure


def _best_by_k2_and_k3(findings: Findings) -> Figure:
    """The best objective that any trial reached at each k2 and k3."""
    target = findings.objectives[0]
    figure, axes = _axes("Best objective at each k2 and k3", "k2", "k3")
    best: dict[tuple[Any, Any], float] = {}
    for row in findings.ranked:  # best first, so the first one stays
        if K2 in row.values and K3 in row.values:
            best.setdefault((row.values[K2], row.values[K3]), row.metrics[target.metric])
    if best:
        scale = _scale(findings.ranked, target)
        places = np.array(list(best))
        axes.scatter(places[:, 0], places[:, 1], c=_COLOURS(scale(np.array([*best.values()]))), s=60, marker="s")
        _colour_bar(figure, axes, scale, target)
    return figure


def _front(findings: Findings) -> Figure:
    first, second = findings.objectives[:2]
    figure, axes = _axes("Trials, and those that none beats in all objectives", first.metric, second.metric)
    for rows, colour, name in ((findings.ranked, "#bbbbbb", "trials"), (findings.front, "#d62728", "front")):
        points = [(row.metrics[first.metric], row.metrics[second.metric]) for row in rows]
        _scatter(axes, points, size=16, colour=colour, label=name)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _agreement(findings: Findings) -> Figure:
    figure, panels = _panels(len(findings.agreement))
    _heading(figure, f"{findings.reference} by signals without labels")
    for item, axes in zip(findings.agreement, panels, strict=True):
        points = [(row.metrics[item.signal], row.metrics[findings.reference]) for row in findings.ranked]
        _scatter(axes, points, colour="#9467bd", alpha=0.6)
        axes.set_title(f"rank correlation {item.spearman:.2f}", fontsize=9)
        axes.set_xlabel(item.signal)
        axes.set_ylabel(findings.reference, fontsize=8)
    return figure


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    return figure, axes


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of small axes, three in a row."""
    columns = min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    for axes in panels[:count]:
        axes.grid(alpha=0.25)
    return figure, panels[:count]


def _heading(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=11)


def _scatter(
    axes: Axes,
    points: Sequence[tuple[Any, Any]],
    *,
    colour: str,
    size: float = 12,
    alpha: float | None = None,
    label: str | None = None,
) -> None:
    if points:
        axes.scatter(*zip(*points, strict=True), s=size, alpha=alpha, color=colour, label=label)


def _scale(rows: Sequence[TrialRow], target: ObjectiveConfig) -> Normalize:
    scores = [row.metrics[target.metric] for row in rows]
    return Normalize(min(scores), max(scores))


def _colour_bar(figure: Figure, axes: Axes, scale: Normalize, target: ObjectiveConfig) -> None:
    figure.colorbar(ScalarMappable(scale, _COLOURS), ax=axes, label=target.metric)


def _height(domain: Domain, value: Any) -> float:
    """Where a value lies on its axis, in [0, 1]; nan, a gap in the line, for a path that the trial lacks."""
    if value is None:
        return float("nan")
    if isinstance(domain, Choice):
        return domain.options.index(value) / max(len(domain.options) - 1, 1)
    return domain.share_of(value)


def _ends(domain: Domain) -> list[tuple[float, str]]:
    """Height and text of an axis's labels."""
    if isinstance(domain, Choice):
        return [(_height(domain, option), str(option)) for option in domain.options]
    return [(-0.04, f"{domain.low:g}"), (1.04, f"{domain.high:g}")]
