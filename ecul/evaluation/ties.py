"""Expected metrics of rankings in which matches and other images stand at the same distance.

The images of a tie are taken as standing in random order, all orders alike: then the order of the gallery counts for
nothing. A network that gives all images the same embedding gets the level of chance (`evaluate.chance_level`).

Shape legend: G gallery images, R ranks, T images of a tie.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_MOST_NODES = 256  # of the quadrature; exact for polynomials of twice that degree


def average_precision(size: NDArray[np.int64], matches: NDArray[np.int64]) -> float:
    """Expected average precision of one ranking.

    A place of a tie of n images with r matches holds a match with probability r / n; if it does, (r - 1) / (n - 1) of
    the tie's images before it are expected to match, too (McSherry and Najork 2008).

    Args:
        size: images of each tie, from near to far; 1 for an image without its equal.
        matches: how many of them match.
    """
    before, matches_before = np.cumsum(size) - size, np.cumsum(matches) - matches
    place = np.arange(1, size.sum() + 1)
    number, found = np.repeat(size, size), np.repeat(matches, size)
    inside = place - np.repeat(before, size)
    expected = np.repeat(matches_before, size) + 1 + (inside - 1) * (found - 1) / np.maximum(number - 1, 1)
    return float((found / number * expected / place).sum() / matches.sum())


def inverse_penalty(size: NDArray[np.int64], matches: NDArray[np.int64]) -> float:
    """Expected inverse negative penalty (matches / place of the last one) of one ranking; arguments as above."""
    last = int(np.flatnonzero(matches)[-1])
    number, found = int(size[last]), int(matches[last])
    places = size[:last].sum() + np.arange(1, number + 1)
    # counted from the tie's end, its last match is the first one
    probability = -np.diff(none_before(number, found))[::-1]
    return float(matches.sum() * (probability / places).sum())


def hits_of_images(size: NDArray[np.int64], matches: NDArray[np.int64], num_ranks: int) -> Floats:
    """Probability that a match is among the first 1, 2, ... R images (R,); arguments as above."""
    first = int(np.flatnonzero(matches)[0])
    none = none_before(int(size[first]), int(matches[first]))
    inside = np.arange(1, num_ranks + 1) - size[:first].sum()
    return 1 - none[np.clip(inside, 0, len(none) - 1)]


def hits_of_identities(before: int, own: int, others: Sequence[int], num_ranks: int) -> Floats:
    """Probability that the query's identity is among the first 1, 2, ... R identities (R,).

    Args:
        before: identities whose nearest image is nearer than that of the query's identity.
        own: images of the query's identity in the tie of its nearest image.
        others: images in this tie of each other identity that has none nearer.
        num_ranks: R.
    """
    probability = _identities_before(own, tuple(sorted(others)), num_ranks)
    return np.concatenate([np.zeros(min(before, num_ranks)), np.cumsum(probability)])[:num_ranks]


@lru_cache(maxsize=4096)
def none_before(number: int, found: int) -> Floats:
    """Probability that none of the first 0, 1, ... T images of a tie is one of `found` chosen ones (T + 1,)."""
    place = np.arange(number)
    return np.concatenate([[1.0], np.cumprod(np.maximum(number - found - place, 0) / (number - place))])


@lru_cache(maxsize=4096)
def _identities_before(own: int, others: tuple[int, ...], num_ranks: int) -> Floats:
    """Probability that 0, 1, ... R - 1 of the others stand before the query's identity, each at its first image.

    Images of a tie get independent uniform places in [0, 1]. Where y of the interval lies behind the query's first
    image, another identity with c images has none before it with probability y^c, independently of the rest. The
    integral over y, a polynomial, is done by Gauss-Legendre quadrature.
    """
    behind, weight = _quadrature(own + sum(others))
    probability = np.zeros((num_ranks, len(behind)))
    probability[0] = own * behind ** (own - 1)
    for count in others:
        later = behind**count
        shifted = np.concatenate([np.zeros((1, len(behind))), probability[:-1]])
        probability = probability * later + shifted * (1 - later)
    return probability @ weight


@lru_cache(maxsize=16)
def _nodes(number: int) -> tuple[Floats, Floats]:
    place, weight = np.polynomial.legendre.leggauss(number)
    return (place + 1) / 2, weight / 2


def _quadrature(degree: int) -> tuple[Floats, Floats]:
    """Places in [0, 1] and weights that integrate polynomials of this degree."""
    return _nodes(min(_MOST_NODES, 1 << (degree // 2).bit_length()))
