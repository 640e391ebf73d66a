"""The pictures of a finished run."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

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

    with TemporaryDirectory(prefix="ecul-pictures-") as name:
        folder = Path(name)
        plot_curves(records, folder / "curves.png")
        if gallery is not None:
            _draw_gallery(gallery, folder / "gallery.png")
        return {path.stem: path.read_bytes() for path in sorted(folder.iterdir())}


def _draw_gallery(gallery: Gallery, path: Path) -> None:
    from ecul.plots.gallery import plot_gallery

    def image(file: str) -> np.ndarray:
        return read_image(file, height=_GALLERY_HEIGHT, width=_GALLERY_WIDTH)

    queries = np.stack([image(file) for file in gallery.query_paths])
    ranked = np.stack([np.stack([image(file) for file in row]) for row in gallery.ranked_paths])
    plot_gallery(queries, ranked, np.array(gallery.correct), path)
