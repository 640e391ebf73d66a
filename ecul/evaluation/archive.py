"""Reads the arrays of a ranking from an `.npz` file of any origin."""

from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ecul.errors import DataError
from ecul.evaluation.ranking import uses_cameras
from ecul.files import read_npz

_CAMERAS = ("query_camera", "gallery_camera")
_NUMBERS = ("query_id", "gallery_id", *_CAMERAS)


class RankingArrays(TypedDict):
    """The arrays that `ecul.evaluation.ranking.evaluate_ranking` takes, by its names."""

    distance: NDArray[np.floating]
    query_id: NDArray[np.int64]
    gallery_id: NDArray[np.int64]
    query_camera: NDArray[np.int64]
    gallery_camera: NDArray[np.int64]


def read_ranking(path: Path, *, rule: str) -> RankingArrays:
    """The arrays of a ranking file, checked.

    Args:
        path: holds `distance` (Q, G), `query_id`, `gallery_id`, `query_camera`, `gallery_camera`.
        rule: `llcm` takes `llcm_query_camera` for the query cameras where it is there; `regdb` does without cameras.

    Raises:
        DataError: a file that cannot be read, or arrays that are missing, misshapen or NaN.
    """
    needed = ["distance", *_NUMBERS[: 4 if uses_cameras(rule) else 2]]
    stored = read_npz(path, needed, optional=("llcm_query_camera",), what="a ranking")
    if rule == "llcm" and "llcm_query_camera" in stored:
        stored["query_camera"] = stored["llcm_query_camera"]
    distance = _checked_distance(path, stored["distance"])
    if not uses_cameras(rule):
        for name, size in zip(_CAMERAS, distance.shape, strict=True):
            stored[name] = np.zeros(size, dtype=np.int64)
    query_id, gallery_id, query_camera, gallery_camera = (
        _checked_numbers(path, name, stored[name], distance.shape[0 if name.startswith("query") else 1])
        for name in _NUMBERS
    )
    return RankingArrays(
        distance=distance,
        query_id=query_id,
        gallery_id=gallery_id,
        query_camera=query_camera,
        gallery_camera=gallery_camera,
    )


def _checked_distance(path: Path, distance: np.ndarray) -> NDArray[np.floating]:
    if distance.ndim != 2 or distance.dtype.kind not in "fiu":
        raise DataError(f"{path}: distance is {distance.dtype} {distance.shape}, expected numbers (Q, G)")
    if 0 in distance.shape:
        raise DataError(f"{path}: distance is {distance.shape}, expected at least one query and one gallery image")
    distance = distance.astype(np.result_type(distance.dtype, np.float32), copy=False)
    num_nan = int(np.isnan(distance).sum())
    if num_nan:
        raise DataError(f"{path}: {num_nan} of {distance.size} distances are NaN")
    return distance


def _checked_numbers(path: Path, name: str, numbers: np.ndarray, size: int) -> NDArray[np.int64]:
    if numbers.shape != (size,) or numbers.dtype.kind not in "iu":
        raise DataError(f"{path}: {name} is {numbers.dtype} {numbers.shape}, expected integers ({size},)")
    return numbers.astype(np.int64)
