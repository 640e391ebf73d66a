"""Queries beside the gallery images nearest to them.

Shape legend: Q queries, K gallery images a query, H x W pixels.
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool, UInt8
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecul.plots.canvas import save_figure

RIGHT, WRONG, QUERY = (26, 150, 65), (215, 25, 28), (70, 70, 70)
_TILE_WIDTH = 96  # pixels; narrower images are enlarged by a whole number up to this
_FRAME, _GAP, _QUERY_GAP = 5, 6, 28
_DOTS_PER_INCH = 100
_HEADER_INCHES = 0.3


def plot_gallery(
    query_images: UInt8[np.ndarray, "Q 3 H W"],
    top_images: UInt8[np.ndarray, "Q K 3 H W"],
    correct: Bool[np.ndarray, "Q K"],
    out: Path | BinaryIO,
    *,
    title: str = "",
) -> None:
    """Draws one row a query: the query, then its nearest images, right ones framed green and wrong ones red.

    Args:
        query_images: RGB.
        top_images: RGB, from near to far.
        correct: whether each of them shows the query's person.
        out: PNG file to write, by its path or open.
        title: text above the picture.

    Raises:
        ValueError: no query, or no gallery image.
        OSError: the file cannot be written.
    """
    num_queries, num_top = correct.shape
    if num_queries == 0 or num_top == 0:
        raise ValueError(f"got {num_queries} queries with {num_top} gallery images each, expected at least one of both")
    mosaic, centres = _mosaic(query_images, top_images, correct)
    header = _HEADER_INCHES * (2 if title else 1)
    width, height = mosaic.shape[1] / _DOTS_PER_INCH, mosaic.shape[0] / _DOTS_PER_INCH + header
    figure = Figure(figsize=(width, height))
    figure.figimage(mosaic)
    baseline = 1 - (header - 0.08) / height
    for name, centre in zip(["query", *map(str, range(1, num_top + 1))], centres, strict=True):
        figure.text(centre / mosaic.shape[1], baseline, name, ha="center", va="bottom", fontsize=9)
    if title:
        figure.text(0.5, 1 - 0.06 / height, title, ha="center", va="top", fontsize=11)
    save_figure(figure, out, dots_per_inch=_DOTS_PER_INCH)


def _mosaic(
    query_images: NDArray[np.uint8], top_images: NDArray[np.uint8], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], list[float]]:
    """The framed images on white, and the middle of every column in pixels."""
    colours = np.where(correct[..., None], np.array(RIGHT), np.array(WRONG))
    height, width, _ = _framed(query_images[0], QUERY).shape
    lefts = [_GAP] + [_GAP + width + _QUERY_GAP + rank * (width + _GAP) for rank in range(correct.shape[1])]
    mosaic = np.full((len(correct) * (height + _GAP), lefts[-1] + width + _GAP, 3), 255, np.uint8)
    for row, (query, top, row_colours) in enumerate(zip(query_images, top_images, colours, strict=True)):
        band = mosaic[row * (height + _GAP) :][:height]
        for left, image, colour in zip(lefts, [query, *top], [QUERY, *row_colours], strict=True):
            band[:, left : left + width] = _framed(image, colour)
    return mosaic, [left + width / 2 for left in lefts]


def _framed(image: NDArray[np.uint8], colour: NDArray[np.integer] | tuple[int, int, int]) -> NDArray[np.uint8]:
    """The image (3, H, W) enlarged by a whole number, inside a frame, as (height, width, 3)."""
    factor = max(1, _TILE_WIDTH // image.shape[2])
    inside = image.transpose(1, 2, 0).repeat(factor, axis=0).repeat(factor, axis=1)
    framed = np.empty((inside.shape[0] + 2 * _FRAME, inside.shape[1] + 2 * _FRAME, 3), np.uint8)
    framed[:] = colour
    framed[_FRAME:-_FRAME, _FRAME:-_FRAME] = inside
    return framed
