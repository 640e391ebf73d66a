"""The curves of a run: which values share axes, and how they are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

Record = Mapping[str, float]
BLUE, RED, PURPLE, GREEN, ORANGE, TEAL, INK = (
    "#1f77b4",
    "#d62728",
    "#9467bd",
    "#2ca02c",
    "#ff7f0e",
    "#17becf",
    "#222222",
)


@dataclass(frozen=True)
class Line:
    """One curve: its key in the records, its name in the legend and its colour."""

    key: str
    name: str
    colour: str


@dataclass(frozen=True)
class Panel:
    """One set of axes; `fraction` fixes the values' axis to [0, 1], `signed` lets it begin below 0."""

    title: str
    lines: tuple[Line, ...]
    fraction: bool = False
    signed: bool = False


PANELS = (
    Panel(
        "Loss",
        (
            Line("loss/total", "total", INK),
            Line("loss/intra_visible", "within visible", BLUE),
            Line("loss/intra_infrared", "within infrared", RED),
            Line("loss/united", "united clusters", PURPLE),
            Line("loss/instance", "selected instances", GREEN),
            Line("loss/bank_intra", "all instances of a modality", "#bcbd22"),
            Line("loss/bank_united", "all instances", "#8c564b"),
            Line("loss/bootstrap_visible", "two views, visible", "#7fb2d9"),
            Line("loss/bootstrap_infrared", "two views, infrared", "#eb9394"),
        ),
    ),
    Panel(
        "Clusters",
        (
            Line("visible/clusters", "visible", BLUE),
            Line("infrared/clusters", "infrared", RED),
            Line("united/clusters", "united", PURPLE),
        ),
    ),
    Panel(
        "Images in no cluster (share)",
        (
            Line("visible/noise_share", "visible", BLUE),
            Line("infrared/noise_share", "infrared", RED),
            Line("united/noise_share", "united", PURPLE),
        ),
        fraction=True,
    ),
    Panel(
        "Retrieval across modalities",
        (Line("evaluation/map", "mAP", ORANGE), Line("evaluation/rank1", "Rank-1", TEAL)),
    ),
)
"""Of curves.png."""

MORE_PANELS = (
    Panel(
        "Quality without identities",
        (
            Line("united/silhouette", "silhouette, united", PURPLE),
            Line("united/stability", "stability, united", INK),
            Line("visible/silhouette", "silhouette, visible", BLUE),
            Line("infrared/silhouette", "silhouette, infrared", RED),
        ),
        signed=True,
    ),
    Panel(
        "Links between the modalities (share)",
        (
            Line("united/cross_modality_share", "clusters with both", PURPLE),
            Line("united/multi_camera_share", "clusters of several cameras", TEAL),
            Line("selection/linked_share", "images in a selected pair", GREEN),
        ),
        fraction=True,
    ),
    Panel(
        "Agreement with the identities, for the reader only",
        (
            Line("quality/visible_ari", "ARI, visible", BLUE),
            Line("quality/infrared_ari", "ARI, infrared", RED),
            Line("quality/united_ari", "ARI, united", PURPLE),
            Line("quality/united_cross_precision", "pairs across, precision", GREEN),
            Line("quality/united_cross_recall", "pairs across, recall", ORANGE),
            Line("quality/selection_precision", "selected pairs, precision", INK),
        ),
        signed=True,
    ),
)
"""Of the report, beside `PANELS`."""


def points_of(line: Line, records: Sequence[Record]) -> list[tuple[float, float]]:
    """Returns (epoch, value) of a curve where a record holds a finite value."""
    points = [(record["epoch"], record[line.key]) for record in records if line.key in record]
    return [point for point in points if isfinite(point[1])]


def draw_panel(axes: Axes, panel: Panel, records: Sequence[Record], *, legend: bool = True) -> None:
    """Draws a panel's curves with a line where each stage begins.

    Args:
        axes: empty ones.
        panel: what to draw.
        records: ordered by their `epoch`, which each has.
        legend: put one inside the axes.
    """
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.tick_params(labelbottom=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    drawn = [line for line in panel.lines if _draw_line(axes, line, records)]
    if panel.fraction and drawn:
        axes.set_ylim(0.0, 1.0)
    elif drawn and not panel.signed:
        from_zero(axes)
    if drawn and legend:
        axes.legend(fontsize=8, loc="best", frameon=False)
    if not drawn:
        axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", va="center", color="#999999")
    for epoch, stage in stage_starts(records):
        axes.axvline(epoch - 0.5, color="#999999", linewidth=1, linestyle="--")
        place = {"transform": axes.get_xaxis_transform(), "va": "top"}
        axes.text(epoch - 0.5, 0.98, f" stage {stage:g}", fontsize=8, color="#666666", **place)


def from_zero(axes: Axes) -> None:
    """Lets the values' axis begin at 0 and end a little above the largest value that is drawn."""
    largest = max((float(np.max(line.get_ydata())) for line in axes.get_lines()), default=0.0)
    axes.set_ylim(0.0, 1.06 * largest if largest > 0 else 1.0)


def stage_starts(records: Sequence[Record]) -> list[tuple[float, float]]:
    """Returns the first epoch and the number of every stage but the first."""
    staged = [(record["epoch"], record["stage"]) for record in records if "stage" in record]
    return [(epoch, stage) for (_, before), (epoch, stage) in pairwise(staged) if stage != before]


def by_epoch(records: Sequence[Record]) -> list[Record]:
    """Returns the records that name their epoch, in its order."""
    return sorted((record for record in records if "epoch" in record), key=lambda record: record["epoch"])


def _draw_line(axes: Axes, line: Line, records: Sequence[Record]) -> bool:
    """Draws one curve; false if no record holds a finite value of it."""
    points = points_of(line, records)
    if points:
        epochs, values = zip(*points, strict=True)
        size = 2.5 if len(points) > 1 else 5.0  # a dot alone is to be seen
        axes.plot(epochs, values, color=line.colour, label=line.name, linewidth=1.6, marker="o", markersize=size)
    return bool(points)
