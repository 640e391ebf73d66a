"""Bars of a run: where its time went, and how large its clusters are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecul.plots.canvas import FIGURE_INCHES, legend_below
from ecul.plots.panels import BLUE, GREEN, ORANGE, PURPLE, RED, TEAL, Record

PHASES = {
    "seconds/extract": ("embed images", BLUE),
    "seconds/cluster": ("cluster", PURPLE),
    "seconds/inspect": ("inspect", TEAL),
    "seconds/train": ("train", GREEN),
    "seconds/evaluate": ("evaluate", ORANGE),
}
"""Parts of an epoch by their key in a record: name and colour."""


def timing_figure(records: Sequence[Record]) -> Figure:
    """Returns the seconds of each epoch by phase, one bar on the other.

    Args:
        records: ordered by their `epoch`, which each has.
    """
    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    axes = figure.subplots()
    epochs = [record["epoch"] for record in records]
    bottom = np.zeros(len(records))
    for key, (name, colour) in PHASES.items():
        seconds = np.array([record.get(key, 0.0) for record in records])
        axes.bar(epochs, seconds, bottom=bottom, label=name, color=colour, width=0.85)
        bottom += seconds
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label(axes, "Seconds of each epoch", "epoch")
    legend_below(figure)
    return figure


def size_figure(counts: Mapping[str, Sequence[tuple[str, float]]]) -> Figure:
    """Returns how many clusters are of each size.

    Args:
        counts: for `visible`, `infrared` and `united`, as far as there are such, pairs of a range of sizes and its
            number of clusters; the same ranges for each.
    """
    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    axes = figure.subplots()
    colours = {"visible": BLUE, "infrared": RED, "united": PURPLE}
    width = 0.85 / max(len(counts), 1)
    for number, (name, pairs) in enumerate(counts.items()):
        place = np.arange(len(pairs)) + (number - (len(counts) - 1) / 2) * width
        axes.bar(place, [count for _, count in pairs], width, label=name, color=colours[name])
        axes.set_xticks(np.arange(len(pairs)), [label for label, _ in pairs], fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _label(axes, "Clusters by number of images", "images in a cluster")
    legend_below(figure)
    return figure


def _label(axes: Axes, title: str, xlabel: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(xlabel)
    axes.grid(alpha=0.25, axis="y")
    axes.set_axisbelow(True)
