"""Figures as SVG that follow the reader's light or dark theme."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ecul.plots.canvas import plain_log_ticks

_INK = ("#000000", "#222222", "#262626")
_MUTED = ("#444444", "#555555", "#666666", "#808080")
_THEME = (
    "<style>svg{--ink:#1c2128;--muted:#59636e}text{fill:var(--ink)}"
    "@media(prefers-color-scheme:dark){svg{--ink:#e3e8ee;--muted:#9aa5b1}}</style>"
)
_SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "ecul", "text.parse_math": False}


@contextmanager
def vector_style() -> Iterator[None]:
    """Inside it figures are to be built that `svg_text` draws: a `$` in a name of a file is no formula there."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def svg_text(figure: Figure) -> str:
    """Returns a figure as SVG without background, its black and grey in colours that follow the reader's theme.

    Args:
        figure: any figure that belongs to no window, built inside `vector_style`.
    """
    buffer = io.BytesIO()
    with vector_style():
        plain_log_ticks(figure)
        figure.patch.set_visible(False)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        # no date: equal figures give equal files
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    for colours, name in ((_INK, "ink"), (_MUTED, "muted")):
        for colour in colours:
            text = text.replace(f": {colour}", f": var(--{name})")
    _, root, body = text.partition("<svg ")
    opening, close, rest = body.partition(">")
    return f"{root}{opening}{close}{_THEME}{rest}"
