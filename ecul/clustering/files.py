"""Features in, labels and graphs out, as .npz files."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ecul.errors import DataError
from ecul.files import read_npz, replacing
from ecul.types import FeatureBank, IntArray, Modality

UNIT_TOLERANCE = 1e-5


def read_features(path: str | Path) -> tuple[FeatureBank, IntArray | None]:
    """The bank in a .npz file of `features` (N, D), `modality` (N,), `camera` (N,), and its `identity` or None.

    Rows that are not unit vectors are normalised.

    Raises:
        DataError: the file cannot be read, or an array is missing, misshapen, not finite or out of range.
    """
    arrays = read_npz(path, ("features", "modality", "camera"), optional=("identity",), what="features")
    features = arrays["features"]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or not features.shape[1]:
        raise DataError(f"{path}: features are {features.dtype} {features.shape}, expected numbers (N, D)")
    whole = {name: _whole(path, name, arrays[name], len(features)) for name in arrays if name in _WHOLE}
    kinds = np.setdiff1d(whole["modality"], [int(kind) for kind in Modality])
    if len(kinds):
        raise DataError(f"{path}: modality holds {kinds[0]}, expected 0 (visible) and 1 (infrared)")
    bank = FeatureBank(_unit_rows(path, features), whole["modality"], whole["camera"])
    return bank, whole.get("identity")


_WHOLE = ("modality", "camera", "identity")


def _whole(path: str | Path, name: str, values: NDArray[Any], num: int) -> IntArray:
    if values.shape != (num,):
        raise DataError(f"{path}: {name} is {values.shape}, expected ({num},) as there are {num} rows of features")
    if values.dtype.kind not in "iufb" or not np.array_equal(values, np.trunc(values)):
        raise DataError(f"{path}: {name} is {values.dtype}, expected whole numbers")
    if values.size and np.abs(values.astype(np.float64)).max() > np.iinfo(np.int32).max:
        raise DataError(f"{path}: {name} holds numbers beyond 32 bits")
    return values.astype(np.int32)


def _unit_rows(path: str | Path, features: NDArray[Any]) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(features, np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    wrong = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if len(wrong):
        what = "is all zero" if norms[wrong[0]] == 0 else "is not finite"
        raise DataError(f"{path}: features row {wrong[0]} {what} ({len(wrong)} such rows); leave them out")
    if np.abs(norms - 1).max(initial=0) <= UNIT_TOLERANCE:
        return rows
    return (rows / norms[:, None]).astype(np.float32)


def write_labels(path: str | Path, labels: IntArray) -> None:
    """Writes a .npz with `labels` int32 (N,), -1 noise.

    Raises:
        DataError: the file cannot be written.
    """
    _write(Path(path), lambda file: np.savez(file, labels=labels))


def write_graph(path: str | Path, graph: sp.csr_array) -> None:
    """Writes a sparse graph that `scipy.sparse.load_npz` reads.

    Raises:
        DataError: the file cannot be written.
    """
    _write(Path(path), lambda file: sp.save_npz(file, graph))


def _write(path: Path, save: Callable[[IO[bytes]], Any]) -> None:
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            save(file)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None
