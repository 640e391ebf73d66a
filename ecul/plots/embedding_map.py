"""Embeddings in the plane, coloured by what is known of the images.

Shape legend: M images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecul.plots.canvas import legend_below

_GREY = "#9aa5b1"
_COLOURS = [colormaps["tab10"](number) for number in (0, 3, 2, 1, 4, 9, 5, 6, 8)]
_NEIGHBOURS, _STEPS = 30.0, 500


@dataclass(frozen=True)
class Colouring:
    """How the images of a map are coloured.

    Attributes:
        title: what the colours say.
        kind: (M,) number of each image's kind, -1 for those left grey.
        names: of the kinds.
        grey: name of the grey ones; empty where there are none.
    """

    title: str
    kind: NDArray[np.integer]
    names: Sequence[str]
    grey: str = ""


def in_plane(components: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns positions (M, 2) in the plane by t-SNE of principal components (M, K); the first two of few images.

    Args:
        components: from large to small.
    """
    from sklearn.manifold import TSNE  # slow to import

    if len(components) < 3 * _NEIGHBOURS or components.shape[1] < 3:
        padding = max(0, 2 - components.shape[1])
        return np.pad(components, ((0, 0), (0, padding)))[:, :2]
    return TSNE(perplexity=_NEIGHBOURS, init="pca", max_iter=_STEPS, random_state=0).fit_transform(components)


def map_figure(position: NDArray[np.float32], colouring: Colouring) -> Figure:
    """Returns a map; few kinds get colours, the images of others are grey.

    Args:
        position: (M, 2).
        colouring: of the M images.
    """
    figure = Figure(figsize=(4.4, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(colouring.title, loc="left", fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])
    rest = (colouring.kind < 0) | (colouring.kind >= len(_COLOURS))
    dots = {"s": 9, "linewidths": 0, "rasterized": True}
    axes.scatter(*position[rest].T, color=_GREY, alpha=0.45, label=colouring.grey if rest.any() else None, **dots)
    for kind, name in enumerate(colouring.names[: len(_COLOURS)]):
        chosen = colouring.kind == kind
        axes.scatter(*position[chosen].T, color=[_COLOURS[kind]], alpha=0.85, label=name, **dots)
    legend_below(figure, markerscale=2)
    return figure
