"""A dense clustering in the manner of the public codes, to measure against: N x N float32 arrays, a loop per image.

Only `ecul bench cluster --reference` and the benchmarks use it. It knows `kreciprocal` and `emcc`.
"""

import time

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN

from ecul.types import ClusteringParameters, FeatureBank, FloatArray, IntArray, group_ids

Lists = list[NDArray[np.intp]]
PRESETS = ("kreciprocal", "emcc")
"""Presets that have a dense version, with the choices (`reading`, `centring`, ...) that they have by default."""
_CHOICES = ("reading", "reciprocal", "balance", "centring")


def has_dense_version(parameters: ClusteringParameters) -> bool:
    """Whether `dense_clustering` knows the preset and its choices."""
    if parameters.preset not in PRESETS:
        return False
    plain = ClusteringParameters(parameters.preset)
    return all(getattr(parameters, name) == getattr(plain, name) for name in _CHOICES)


def dense_clustering(bank: FeatureBank, parameters: ClusteringParameters) -> tuple[IntArray, dict[str, float]]:
    """Labels (N,), and the seconds and processor seconds of each stage.

    Memory: two to three N x N float32 arrays; time quadratic in N.

    Args:
        bank: unit rows with modality and camera.
        parameters: of preset `kreciprocal` or `emcc`.

    Raises:
        ValueError: another preset, or choices that it does not know.
    """
    if not has_dense_version(parameters):
        raise ValueError(
            f"got preset {parameters.preset!r}; the dense version knows {' and '.join(PRESETS)}, without "
            f"{', '.join(_CHOICES)}"
        )
    seconds: dict[str, float] = {}
    last = time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter(), time.process_time()
        seconds[f"{name}_seconds"], seconds[f"{name}_cpu_seconds"] = now[0] - last[0], now[1] - last[1]
        last = now

    group, k1, k2, k3, half = _ranges(bank, parameters)
    rank = [_search(bank.features, np.flatnonzero(group == g), max(k1, k2, k3)) for g in range(group.max() + 1)]
    lap("search")
    full_lists, half_lists = _reciprocal(rank, group, k1), _reciprocal(rank, group, half)
    V = _encode(bank.features, full_lists, half_lists)
    lap("encode")
    V = _extend(V, [ranks[:, :k2] for ranks in rank])
    lap("extend")
    if k3:
        _filter(V, [ranks[:, :k3] for ranks in rank])
    lap("filter")
    distance = _jaccard(V)
    lap("jaccard")
    labels = DBSCAN(eps=parameters.eps, min_samples=parameters.min_samples, metric="precomputed").fit_predict(distance)
    lap("dbscan")
    return labels.astype(np.int32), seconds


def _ranges(bank: FeatureBank, parameters: ClusteringParameters) -> tuple[IntArray, int, int, int, int]:
    """Groups, k1, k2, k3 (0: no filter) and the half range."""
    k1, k2, k3 = parameters.k1 or 1, parameters.k2 or 1, parameters.k3 or 0
    if parameters.preset == "kreciprocal":
        return np.zeros(len(bank), np.int32), k1, k2, 0, round(k1 / 2) + 1
    camera = bank.camera if parameters.groups != "modality" else np.zeros_like(bank.camera)
    return group_ids(bank.modality, camera), k1, k2, k3, -(-k1 // 2)


def _search(features: FloatArray, columns: NDArray[np.intp], depth: int) -> NDArray[np.intp]:
    """The nearest `depth` images among `columns` of every image, by faiss where it is installed."""
    depth = min(depth, len(columns))
    try:
        import faiss

        index = faiss.IndexFlatL2(features.shape[1])
        index.add(features[columns])
        return columns[index.search(features, depth)[1]]
    except ImportError:
        return columns[_by_sorting(features, columns, depth)]


def _by_sorting(features: FloatArray, columns: NDArray[np.intp], depth: int) -> NDArray[np.intp]:
    return np.argsort(2 - 2 * features @ features[columns].T, axis=1, kind="stable")[:, :depth]


def _reciprocal(rank: list[NDArray[np.intp]], group: IntArray, k: int) -> Lists:
    """For every image, its neighbours in each group that have it among their own in its group."""
    found: Lists = []
    for i in range(len(group)):
        kept = [ranks[i, :k][(rank[group[i]][ranks[i, :k], :k] == i).any(axis=1)] for ranks in rank]
        found.append(np.concatenate(kept))
    return found


def _encode(features: FloatArray, full: Lists, half: Lists) -> FloatArray:
    V = np.zeros((len(features), len(features)), np.float32)
    for i, members in enumerate(full):
        expansion = members
        for candidate in members:
            near = half[candidate]
            if len(np.intersect1d(near, members)) > 2 / 3 * len(near):
                expansion = np.append(expansion, near)
        expansion = np.unique(expansion)
        weight = np.exp(2 * (features[expansion] @ features[i]) - 2)
        V[i, expansion] = weight / weight.sum()
    return V


def _extend(V: FloatArray, fused: list[NDArray[np.intp]]) -> FloatArray:
    out = np.zeros_like(V)
    for i in range(len(V)):
        out[i] = np.mean([V[ranks[i]].mean(axis=0) for ranks in fused], axis=0)
    return out


def _filter(V: FloatArray, kept: list[NDArray[np.intp]]) -> None:
    for i in range(len(V)):
        near = np.concatenate([ranks[i] for ranks in kept])
        row = np.zeros_like(V[i])
        row[near] = V[i, near]
        V[i] = row / row.sum()


def _jaccard(V: FloatArray) -> FloatArray:
    inverted = [np.where(V[:, column] != 0)[0] for column in range(len(V))]
    distance = np.zeros_like(V)
    for i in range(len(V)):
        overlap = np.zeros(len(V), np.float32)
        for column in np.where(V[i] != 0)[0]:
            rows = inverted[column]
            overlap[rows] += np.minimum(V[i, column], V[rows, column])
        distance[i] = 1 - overlap / (2 - overlap)
    return np.maximum(distance, 0, out=distance)
