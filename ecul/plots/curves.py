"""The course of a training run in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from matplotlib.figure import Figure

from ecul.plots.canvas import save_figure
from ecul.plots.panels import PANELS, Record, by_epoch, draw_panel


def plot_curves(records: Sequence[Record], out: Path | BinaryIO) -> None:
    """Draws losses, cluster counts, noise shares and retrieval over the epochs, with lines where a stage begins.

    Args:
        records: one an epoch, in any order, with `epoch` and, where they exist, `stage`, `loss/...`,
            `{visible,infrared,united}/{clusters,noise_share}`, `evaluation/{map,rank1}`; other keys and values that
            are not finite are passed over. No record at all gives empty axes.
        out: PNG file to write, by its path or open.

    Raises:
        OSError: the file cannot be written.
    """
    ordered = by_epoch(records)
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, panel in zip(figure.subplots(2, 2, sharex=True).flat, PANELS, strict=True):
        draw_panel(axes, panel, ordered)
    save_figure(figure, out)
