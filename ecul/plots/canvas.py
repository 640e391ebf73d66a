"""Saves figures without pyplot's global state."""

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def save_figure(figure: Figure, path: Path, *, dots_per_inch: int = 120) -> None:
    """Writes the figure as PNG; a reader sees the old file or the whole new one.

    Args:
        figure: any figure that belongs to no window.
        path: file to write; its folder must exist.
        dots_per_inch: resolution.

    Raises:
        OSError: the folder is missing or full.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # no Software entry: equal figures give equal bytes whatever the matplotlib version writes there
        FigureCanvasAgg(figure).print_figure(unfinished, format="png", dpi=dots_per_inch, metadata={"Software": None})
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
