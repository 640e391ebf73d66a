"""The pictures of a finished run."""

import io
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from ecul.data.images import read_image
from ecul.engine.interfaces import Gallery, Record

_GALLERY_HEIGHT, _GALLERY_WIDTH = 128, 64


def draw_pictures(records: Sequence[Record], gallery: Gallery | None) -> dict[str, bytes]:
    """Returns PNG files by name: `curves` and, if there are examples, `gallery`.

    Args:
        records: of all epochs, those before a restart included.
        gallery: queries with their nearest images.
    """
    from ecul.plots.curves import plot_curves  # matplotlib is slow to import, and only rank 0 draws

    files = {"curves": io.BytesIO()}  # in memory: a process that is killed here leaves no folder behind
    plot_curves(records, files["curves"])
    if gallery is not None:
        files["gallery"] = io.BytesIO()
        _draw_gallery(gallery, files["gallery"])
    return {name: file.getvalue() for name, file in files.items()}


def _draw_gallery(gallery: Gallery, out: BinaryIO) -> None:
    from ecul.plots.gallery import plot_gallery

    def image(file: str) -> np.ndarray:
        return read_image(file, height=_GALLERY_HEIGHT, width=_GALLERY_WIDTH)

    queries = np.stack([image(file) for file in gallery.query_paths])
    ranked = np.stack([np.stack([image(file) for file in row]) for row in gallery.ranked_paths])
    plot_gallery(queries, ranked, np.array(gallery.correct), out)
