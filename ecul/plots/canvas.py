"""Saves figures without pyplot's global state."""

import math
from pathlib import Path
from typing import BinaryIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ecul.files import replacing

FIGURE_INCHES = (4.4, 3.4)
"""Width and height of a picture of the report: its text can be read on a telephone."""

_LEGEND_POINTS = 8
_SYMBOL_INCHES, _LETTER_INCHES = 0.5, 0.06  # of an entry, about, at that size


def legend_below(figure: Figure, *, markerscale: float = 1.0) -> None:
    """Puts one legend of all axes under them, in as many columns as the figure has room for.

    Args:
        figure: with constrained layout.
        markerscale: size of the legend's markers to that of the drawn ones.
    """
    names = [name for axes in figure.axes for name in axes.get_legend_handles_labels()[1]]
    if names:
        column = _SYMBOL_INCHES + _LETTER_INCHES * max(map(len, names))
        columns = max(1, min(len(names), int(figure.get_figwidth() / column)))
        style = {"fontsize": _LEGEND_POINTS, "frameon": False, "markerscale": markerscale}
        figure.legend(loc="outside lower center", ncols=columns, **style)


def plain_log_ticks(figure: Figure) -> None:
    """Labels logarithmic axes with few plain numbers. Matplotlib's own labels are formulas, and crowd small pictures.

    Args:
        figure: with its data.
    """
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if axis.get_scale() == "log":
            low, high = sorted(axis.get_view_interval())
            decades = math.log10(high / low)
            multiples = (1, 1.5, 2, 3, 5, 7) if decades < 0.5 else (1, 2, 5) if decades < 2 else (1,)
            axis.set_major_locator(LogLocator(subs=multiples))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def save_figure(figure: Figure, out: Path | BinaryIO, *, dots_per_inch: int = 120) -> None:
    """Writes the figure as PNG; a reader of a file sees the old one or the whole new one.

    Args:
        figure: any figure that belongs to no window.
        out: file to write, whose folder must exist, or an open one.
        dots_per_inch: resolution.

    Raises:
        OSError: the folder is missing or full.
    """
    if isinstance(out, Path):
        with replacing(out) as partial, partial.open("wb") as file:
            save_figure(figure, file, dots_per_inch=dots_per_inch)
        return
    plain_log_ticks(figure)
    # no Software entry: equal figures give equal bytes whatever the matplotlib version writes there
    FigureCanvasAgg(figure).print_figure(out, format="png", dpi=dots_per_inch, metadata={"Software": None})
