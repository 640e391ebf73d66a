"""Saves figures without pyplot's global state."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecul.files import replacing


def save_figure(figure: Figure, path: Path, *, dots_per_inch: int = 120) -> None:
    """Writes the figure as PNG; a reader sees the old file or the whole new one.

    Args:
        figure: any figure that belongs to no window.
        path: file to write; its folder must exist.
        dots_per_inch: resolution.

    Raises:
        OSError: the folder is missing or full.
    """
    with replacing(path) as partial:
        # no Software entry: equal figures give equal bytes whatever the matplotlib version writes there
        FigureCanvasAgg(figure).print_figure(partial, format="png", dpi=dots_per_inch, metadata={"Software": None})
