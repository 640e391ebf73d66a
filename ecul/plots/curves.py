"""The course of a training run in one picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecul.plots.canvas import save_figure

Record = Mapping[str, float]


@dataclass(frozen=True)
class _Line:
    """One curve: its key in the records, its name in the legend and its colour."""

    key: str
    name: str
    colour: str


@dataclass(frozen=True)
class _Panel:
    """One set of axes; `fraction` fixes the values' axis to [0, 1]."""

    title: str
    lines: tuple[_Line, ...]
    fraction: bool = False


_PANELS = (
    _Panel(
        "Loss",
        (
            _Line("loss/total", "total", "#222222"),
            _Line("loss/intra_visible", "within visible", "#1f77b4"),
            _Line("loss/intra_infrared", "within infrared", "#d62728"),
            _Line("loss/united", "united clusters", "#9467bd"),
            _Line("loss/instance", "selected instances", "#2ca02c"),
            _Line("loss/bootstrap_visible", "two views, visible", "#7fb2d9"),
            _Line("loss/bootstrap_infrared", "two views, infrared", "#eb9394"),
        ),
    ),
    _Panel(
        "Clusters",
        (
            _Line("visible/clusters", "visible", "#1f77b4"),
            _Line("infrared/clusters", "infrared", "#d62728"),
            _Line("united/clusters", "united", "#9467bd"),
        ),
    ),
    _Panel(
        "Images in no cluster (share)",
        (
            _Line("visible/noise_share", "visible", "#1f77b4"),
            _Line("infrared/noise_share", "infrared", "#d62728"),
            _Line("united/noise_share", "united", "#9467bd"),
        ),
        fraction=True,
    ),
    _Panel(
        "Retrieval across modalities",
        (_Line("evaluation/map", "mAP", "#ff7f0e"), _Line("evaluation/rank1", "Rank-1", "#17becf")),
    ),
)


def plot_curves(records: Sequence[Record], path: Path) -> None:
    """Draws losses, cluster counts, noise shares and retrieval over the epochs, with lines where a stage begins.

    Args:
        records: one an epoch, in any order, with `epoch` and, where they exist, `stage`, `loss/...`,
            `{visible,infrared,united}/{clusters,noise_share}`, `evaluation/{map,rank1}`; other keys and values that
            are not finite are passed over. No record at all gives empty axes.
        path: PNG file to write.

    Raises:
        OSError: the file cannot be written.
    """
    by_epoch = sorted((record for record in records if "epoch" in record), key=lambda record: record["epoch"])
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 2, sharex=True).flat, _PANELS, strict=True):
        _draw_panel(axes, panel, by_epoch)
        for epoch, stage in _stage_starts(by_epoch):
            axes.axvline(epoch - 0.5, color="#999999", linewidth=1, linestyle="--")
            place = {"transform": axes.get_xaxis_transform(), "va": "top"}
            axes.text(epoch - 0.5, 0.98, f" stage {stage}", fontsize=8, color="#666666", **place)
    save_figure(figure, path)


def _draw_panel(axes: Axes, panel: _Panel, records: Sequence[Record]) -> None:
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.tick_params(labelbottom=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    drawn = [line for line in panel.lines if _draw_line(axes, line, records)]
    if panel.fraction and drawn:
        axes.set_ylim(0.0, 1.0)
    elif drawn:
        axes.set_ylim(bottom=0.0)
    if drawn:
        axes.legend(fontsize=8, loc="best", frameon=False)
    else:
        axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", va="center", color="#999999")


def _draw_line(axes: Axes, line: _Line, records: Sequence[Record]) -> bool:
    """Draws one curve; false if no record holds a finite value of it."""
    points = [(record["epoch"], record[line.key]) for record in records if line.key in record]
    points = [point for point in points if isfinite(point[1])]
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, color=line.colour, label=line.name, linewidth=1.6, marker="o", markersize=2.5)
    return bool(points)


def _stage_starts(records: Sequence[Record]) -> list[tuple[float, int]]:
    """First epoch and number of every stage but the first."""
    staged = [(record["epoch"], int(record["stage"])) for record in records if "stage" in record]
    return [(epoch, stage) for (_, before), (epoch, stage) in pairwise(staged) if stage != before]
