"""inspection.npz: the clusters and rank lists of an epoch with small images, so that a reader needs no dataset.

docs/report.md describes the arrays.
"""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ecul.data.dataset import ReidDataset
from ecul.data.images import read_image
from ecul.engine.inspection import Inspection, Sheet, inspect_clusters, shown_images
from ecul.engine.interfaces import Gallery, Reporter
from ecul.errors import DataError
from ecul.files import read_npz
from ecul.types import ClusteringResult, FeatureBank

INSPECTION_FILE = "inspection.npz"
_HEIGHT, _WIDTH, _QUALITY = 128, 64, 78
_COLUMNS = ("modality", "camera", "identity", "label", "margin")
_AS_THEY_ARE = (*_COLUMNS, "pairs", "pair_distance", "pairs_shown", "map_image", "map_components")
_OTHERS = ("epoch", "united", "path", "sheet_reason", "sheet_cluster", "member_sheet", "member_image")
_RANKS = ("rank_query", "rank_nearest", "rank_correct")
_THUMBNAILS = ("thumbnail_path", "thumbnail_end", "thumbnail_jpeg")


@dataclass(frozen=True)
class StoredInspection:
    """What inspection.npz holds.

    Attributes:
        clusters: of the epoch.
        ranks: queries and their nearest images, by paths relative to the dataset's folder; None where not evaluated.
        thumbnails: JPEG files by such a path.
    """

    clusters: Inspection
    ranks: Gallery | None
    thumbnails: Mapping[str, bytes]


class Inspector:
    """Collects an epoch's inspection: the clusters when they are made, the rank lists after the evaluation."""

    def __init__(self, dataset: ReidDataset, reporter: Reporter) -> None:
        """Takes the dataset, whose training identities go to the reader alone, and who receives the file."""
        self._dataset = dataset
        self._reporter = reporter
        self._clusters: Inspection | None = None

    def clustered(self, epoch: int, bank: FeatureBank, labels: ClusteringResult) -> None:
        """Keeps what is to look at in an epoch's clusters."""
        self._clusters = inspect_clusters(epoch, bank, labels, self._dataset)

    def evaluated(self, gallery: Gallery | None) -> None:
        """Hands inspection.npz with the epoch's rank lists to the reporter, if something was clustered."""
        if self._clusters is None:
            return
        try:
            content = pack(self._clusters, gallery, self._dataset.root)
        except DataError as error:  # images can vanish while a run works on decoded ones, and it can go on without
            self._reporter.warn(f"epoch {self._clusters.epoch}: no {INSPECTION_FILE}: {error}")
        else:
            self._reporter.file(INSPECTION_FILE, content)


def pack(clusters: Inspection, gallery: Gallery | None, root: str) -> bytes:
    """Returns the content of inspection.npz.

    Args:
        clusters: of an epoch.
        gallery: of the same epoch, by absolute paths.
        root: the dataset's folder.

    Raises:
        DataError: an image that is to be shown cannot be read.
    """
    ranks = None if gallery is None else _relative(gallery, root)
    shown = [clusters.paths[position] for position in shown_images(clusters)]
    if ranks is not None:
        shown += [*ranks.query_paths, *(path for row in ranks.ranked_paths for path in row)]
    names = sorted(set(shown))
    images = [thumbnail(os.path.join(root, name)) for name in names]
    arrays: dict[str, Any] = {name: getattr(clusters, name) for name in _AS_THEY_ARE}
    arrays |= {
        "epoch": np.int64(clusters.epoch),
        "united": np.bool_(clusters.united),
        "path": _texts(clusters.paths),
        "sheet_reason": _texts([sheet.reason for sheet in clusters.sheets]),
        "sheet_cluster": np.array([sheet.cluster for sheet in clusters.sheets], np.int32),
        "member_sheet": np.repeat(
            np.arange(len(clusters.sheets), dtype=np.int32), [len(sheet.members) for sheet in clusters.sheets]
        ),
        "member_image": np.array([image for sheet in clusters.sheets for image in sheet.members], np.int32),
        "thumbnail_path": _texts(names),
        "thumbnail_end": np.cumsum([len(image) for image in images], dtype=np.int64),
        "thumbnail_jpeg": np.frombuffer(b"".join(images), np.uint8),
    }
    if ranks is not None:
        arrays["rank_query"] = _texts(ranks.query_paths)
        arrays["rank_nearest"] = np.array(ranks.ranked_paths, dtype=np.str_)
        arrays["rank_correct"] = np.array(ranks.correct, dtype=np.bool_)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_inspection(path: Path) -> StoredInspection:
    """Returns what an inspection.npz holds.

    Raises:
        DataError: the file is damaged, or its arrays do not fit each other.
    """
    stored = read_npz(path, (*_AS_THEY_ARE, *_OTHERS, *_THUMBNAILS), optional=_RANKS, what="an inspection")
    try:
        return _unpack(stored)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: its arrays do not fit each other ({error}); remove it, or train again") from None


def thumbnail(path: str) -> bytes:
    """Returns a small JPEG of an image file.

    Raises:
        DataError: the file is missing or is no readable image.
    """
    pixels = read_image(path, height=_HEIGHT, width=_WIDTH).transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "jpeg", quality=_QUALITY)
    return buffer.getvalue()


def _unpack(stored: Mapping[str, NDArray[Any]]) -> StoredInspection:
    size = len(stored["path"])
    if any(stored[name].shape != (size,) for name in _COLUMNS):
        raise ValueError(f"expected {size} of each of {', '.join(_COLUMNS)}")
    owner, image = stored["member_sheet"], stored["member_image"]
    sheets = tuple(
        Sheet(str(reason), int(cluster), tuple(image[owner == number].tolist()))
        for number, (reason, cluster) in enumerate(zip(stored["sheet_reason"], stored["sheet_cluster"], strict=True))
    )
    clusters = Inspection(
        epoch=int(stored["epoch"]),
        united=bool(stored["united"]),
        paths=tuple(stored["path"].tolist()),
        sheets=sheets,
        **{name: stored[name] for name in _AS_THEY_ARE},
    )
    shown_images(clusters)  # fails where pairs and sheets name no image
    if max(shown_images(clusters), default=-1) >= size:
        raise ValueError(f"an image beyond the {size}")
    ends = stored["thumbnail_end"].tolist()
    content = stored["thumbnail_jpeg"].tobytes()
    parts = [content[first:last] for first, last in zip([0, *ends], ends, strict=False)]
    thumbnails = dict(zip(stored["thumbnail_path"].tolist(), parts, strict=True))
    return StoredInspection(clusters, _ranks(stored), thumbnails)


def _ranks(stored: Mapping[str, NDArray[Any]]) -> Gallery | None:
    if any(name not in stored for name in _RANKS):
        return None
    query, nearest, correct = (stored[name].tolist() for name in _RANKS)
    if not len(query) == len(nearest) == len(correct):
        raise ValueError("rank lists of several lengths")
    return Gallery(tuple(query), tuple(map(tuple, nearest)), tuple(map(tuple, correct)))


def _relative(gallery: Gallery, root: str) -> Gallery:
    def names(paths: Sequence[str]) -> tuple[str, ...]:
        return tuple(os.path.relpath(path, root) for path in paths)

    return Gallery(names(gallery.query_paths), tuple(map(names, gallery.ranked_paths)), gallery.correct)


def _texts(values: Sequence[str]) -> NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)
