"""Images as points: exact copies become one point, and points stand in an order that only their content decides.

So neither the numbering of the images nor the number of copies of a frame can change who is whose neighbour.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ecul.clustering.search.exact import fixed_point
from ecul.types import FeatureBank, FloatArray, IntArray


@dataclass(frozen=True)
class Points:
    """The distinct images of a bank.

    Attributes:
        bank: one row for every point, ordered by (modality, camera, content).
        point: int32 (N,), the point of every image.
        copies: int32 (P,), images of every point.
        first: int32 (P,), the lowest image of every point.
    """

    bank: FeatureBank
    point: IntArray
    copies: IntArray
    first: IntArray

    def __len__(self) -> int:
        """Number of points."""
        return len(self.copies)

    def pairs_of_images(self, pairs: IntArray) -> IntArray:
        """Pairs (P, 2) of points as pairs of images, every copy with every copy, in ascending order."""
        _, spread = self._spread(pairs)
        return spread[np.lexsort((spread[:, 1], spread[:, 0]))]

    def graph_of_images(self, graph: sp.csr_array) -> sp.csr_array:
        """A graph over the points (P, P) as one over the images (N, N); stored zeros stay stored."""
        entries = graph.tocoo()
        owner, spread = self._spread(np.stack([entries.row, entries.col], axis=1).astype(np.int32))
        out = sp.csr_array((entries.data[owner], (spread[:, 0], spread[:, 1])), shape=(len(self.point),) * 2)
        out.sort_indices()
        return out

    def _spread(self, pairs: IntArray) -> tuple[NDArray[np.int64], IntArray]:
        """All pairs of images of pairs of points, and the pair of points of each."""
        members = np.argsort(self.point, kind="stable").astype(np.int32)  # all images, point by point
        start = np.cumsum(self.copies, dtype=np.int64) - self.copies
        lefts, rights = self.copies[pairs[:, 0]].astype(np.int64), self.copies[pairs[:, 1]].astype(np.int64)
        counts = lefts * rights
        owner = np.repeat(np.arange(len(pairs)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        left = start[pairs[owner, 0]] + within // rights[owner]
        right = start[pairs[owner, 1]] + within % rights[owner]
        return owner, np.stack([members[left], members[right]], axis=1)


@numba.njit(cache=True, nogil=True)
def _hashes(features, factors, out):
    for row in range(len(features)):
        total = np.uint64(0)
        for d in range(features.shape[1]):
            total += np.uint64(np.int64(fixed_point(features[row, d]))) * factors[d]
        out[row] = total


def content_hash(features: FloatArray) -> NDArray[np.uint64]:
    """A number for every row, the same for rows that are equal in fixed point; sums wrap around, so have no order."""
    factors = np.random.default_rng(0).integers(2**63, size=features.shape[1], dtype=np.uint64) * np.uint64(2) + 1
    out = np.empty(len(features), np.uint64)
    _hashes(features, factors, out)
    return out


def find_points(bank: FeatureBank) -> Points:
    """The points of a bank: images of one modality and camera whose features are equal in fixed point are one.

    Args:
        bank: float32 unit rows with modality and camera.
    """
    content = content_hash(bank.features)
    order = np.lexsort((content, bank.camera, bank.modality)).astype(np.int32)
    keys = np.stack([bank.modality.astype(np.int64), bank.camera.astype(np.int64), content.view(np.int64)])[:, order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    bounds = np.append(np.flatnonzero(is_new), len(order))
    for run in np.flatnonzero(np.diff(bounds) > 1):
        place = slice(bounds[run], bounds[run + 1])
        order[place], is_new[place] = _by_content(bank.features, order[place])
    number = np.cumsum(is_new, dtype=np.int32) - 1
    point = np.empty(len(order), np.int32)
    point[order] = number
    first = order[is_new]  # equal rows keep the order of the images
    ordered = FeatureBank(np.ascontiguousarray(bank.features[first]), bank.modality[first], bank.camera[first])
    return Points(ordered, point, np.bincount(number, minlength=len(first)).astype(np.int32), first)


def _fixed(features: FloatArray, image: Any) -> NDArray[np.float64]:
    return np.rint(features[image].astype(np.float64) * 2.0**30)


def _by_content(features: FloatArray, images: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Images of one hash in the order of their features, and which of them differ from the one before.

    Nearly always they are copies; other rows share a hash about once in 2^64 pairs.
    """
    if all(np.array_equal(_fixed(features, images[0]), _fixed(features, image)) for image in images[1:]):
        return images, np.arange(len(images)) == 0
    rows = sorted((tuple(_fixed(features, image).tolist()), image) for image in images.tolist())
    is_new = [place == 0 or rows[place][0] != rows[place - 1][0] for place in range(len(rows))]
    return np.array([image for _, image in rows], np.int32), np.array(is_new)
