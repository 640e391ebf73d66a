"""The five presets as recipes of one engine: which lists, which ranges, how encodings fuse, what is filtered.

Where the public code of a preset has an off-by-one, the recipe has it too (docs/method.md says which).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ecul.clustering.search.lists import NeighborLists, NeighborSpec
from ecul.types import ClusteringParameters, FeatureBank, IntArray, group_ids


@dataclass(frozen=True)
class Recipe:
    """A preset with its numbers filled in, over one set of images.

    Attributes:
        spec: lists to search.
        encode_slot: int32 (G, G), as `NeighborSpec.slot`, of the lists that the encoding uses.
        full_depth: int32 (S,), range of the reciprocal neighbours in each of those lists (k1).
        half_depth: int32 (S,), range of the recall (about k1/2); empty when the preset has no recall.
        merge_depth: images taken from each searched list to make the encoding's single list; 0 to use them as found.
        fusion_depth: int32 (S,), neighbours fused from each searched list (k2).
        fusion: `pooled` (all fused neighbours weigh the same), `slots` (the lists' means weigh the same) or
            `modality` (pooled list split by modality, the modalities' means weigh the same).
        filter_depth: range of the filter in each searched list (k3); 0 for none.
        modality: int32 (N,).
    """

    spec: NeighborSpec
    encode_slot: IntArray
    full_depth: IntArray
    half_depth: IntArray
    merge_depth: int
    fusion_depth: IntArray
    fusion: str
    filter_depth: int
    modality: IntArray


def _ints(*values: int) -> IntArray:
    return np.array(values, np.int32)


def _need(parameters: ClusteringParameters, *names: str) -> list[int]:
    values = [getattr(parameters, name) for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if value is None or value < 1]
    if missing:
        raise ValueError(f"preset {parameters.preset} needs {', '.join(missing)} of at least 1")
    return values


def _half(k1: int) -> int:
    """The public codes' half range: rounded half to even, plus the image itself, never more than k1."""
    return min(k1, round(k1 / 2) + 1)


def _one_list(bank: FeatureBank, depth: int) -> NeighborSpec:
    return NeighborSpec(np.zeros(len(bank), np.int32), np.zeros((1, 1), np.int32), depth)


def _list_per_group(group: IntArray, depth: int) -> NeighborSpec:
    num_groups = int(group.max(initial=0)) + 1
    slot = np.broadcast_to(np.arange(num_groups, dtype=np.int32), (num_groups, num_groups)).copy()
    return NeighborSpec(group, slot, depth)


def _kreciprocal(bank: FeatureBank, parameters: ClusteringParameters, *, fusion: str = "pooled") -> Recipe:
    """Zhong et al. 2017 as ADCA runs it: k1 counts the image itself."""
    k1, k2 = _need(parameters, "k1", "k2")
    spec = _one_list(bank, max(k1, k2))
    fused = _ints(min(k2, k1))
    return Recipe(spec, spec.slot, _ints(k1), _ints(_half(k1)), 0, fused, fusion, 0, bank.modality)


def _modality_balanced(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """PCA: the k2 fused neighbours are split by modality."""
    return _kreciprocal(bank, parameters, fusion="modality")


def _balanced_neighbours(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """BMIL: k1/2 neighbours of each modality, merged by distance into one list."""
    k1, k2 = _need(parameters, "k1", "k2")
    modality = np.unique(bank.modality, return_inverse=True)[1].reshape(-1).astype(np.int32)
    share = max(1, k1 // 2)
    spec = _list_per_group(modality, max(share, k2))
    full = share * spec.num_slots
    half = _ints(min(full, _half(k1)))
    fused = np.full(spec.num_slots, k2, np.int32)
    return Recipe(spec, np.zeros_like(spec.slot), _ints(full), half, share, fused, "slots", 0, bank.modality)


def _camera_aware(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """CA-Jaccard: a same-camera and an other-camera list, both one longer than their k1; no recall."""
    k1_intra, k1_inter, k2_intra, k2_inter = _need(parameters, "k1_intra", "k1_inter", "k2_intra", "k2_inter")
    group = group_ids(bank.modality, bank.camera)
    num_groups = int(group.max(initial=0)) + 1
    slot = 1 - np.eye(num_groups, dtype=np.int32)
    spec = NeighborSpec(group, slot, max(k1_intra + 1, k1_inter + 1, k2_intra, k2_inter))
    full, fused = _ints(k1_intra + 1, k1_inter + 1)[: spec.num_slots], _ints(k2_intra, k2_inter)[: spec.num_slots]
    return Recipe(spec, slot, full, _ints(), 0, fused, "pooled", 0, bank.modality)


def _emcc(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """ECUL, EMCC steps 1 to 5 (docs/method.md)."""
    k1, k2, k3 = _need(parameters, "k1", "k2", "k3")
    cameras = bank.camera if parameters.groups != "modality" else np.zeros_like(bank.camera)
    spec = _list_per_group(group_ids(bank.modality, cameras), max(k1, k2, k3))
    ranges = [np.full(spec.num_slots, k, np.int32) for k in (k1, -(-k1 // 2), k2)]
    return Recipe(spec, spec.slot, ranges[0], ranges[1], 0, ranges[2], "slots", k3, bank.modality)


_RECIPES: dict[str, Callable[[FeatureBank, ClusteringParameters], Recipe]] = {
    "kreciprocal": _kreciprocal,
    "modality_balanced": _modality_balanced,
    "balanced_neighbours": _balanced_neighbours,
    "camera_aware": _camera_aware,
    "emcc": _emcc,
}


def build_recipe(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """The recipe of a preset over the bank's images.

    Raises:
        ValueError: unknown preset, unknown grouping, or a range that the preset needs is missing.
    """
    if parameters.preset not in _RECIPES:
        raise ValueError(f"got preset {parameters.preset!r}; choose one of {', '.join(_RECIPES)}")
    if parameters.preset == "emcc" and parameters.groups not in (None, "modality_camera", "modality"):
        raise ValueError(f"got groups {parameters.groups!r}; choose modality_camera or modality")
    if not len(bank):
        bank = replace(bank, modality=np.zeros(0, np.int32), camera=np.zeros(0, np.int32))
    return _RECIPES[parameters.preset](bank, parameters)


def merged_lists(lists: NeighborLists, share: int, start: int = 0) -> NeighborLists:
    """One list of every image: the first `share` of each of its lists, by (distance, index), the image itself first.

    Args:
        lists: lists of consecutive images.
        share: neighbours taken from each list.
        start: number of the first of these images.
    """
    index, distance = lists.index[:, :, :share], lists.distance[:, :, :share]
    width = index.shape[1] * index.shape[2]
    index, distance = index.reshape(len(lists), width), distance.reshape(len(lists), width)
    itself = index == np.arange(start, start + len(lists), dtype=np.int32)[:, None]
    key = np.where(itself, np.float32(-1), distance)
    by_index = np.argsort(index, axis=1, kind="stable")
    by_distance = np.argsort(np.take_along_axis(key, by_index, 1), axis=1, kind="stable")
    order = np.take_along_axis(by_index, by_distance, 1)
    return NeighborLists(np.take_along_axis(index, order, 1)[:, None], np.take_along_axis(distance, order, 1)[:, None])


def fusion_pattern(recipe: Recipe, lists: NeighborLists, images: IntArray) -> NeighborLists:
    """Which encodings make up the fused ones of the given images, and how much each counts.

    Returns:
        index (R, 1, M) of the encodings, -1 for none; `distance` holds their weights, summing to 1 in each row.
    """
    width = int(recipe.fusion_depth.max(initial=1))
    index = lists.index[images, : len(recipe.fusion_depth), :width]
    valid = (np.arange(width) < recipe.fusion_depth[:, None]) & (index >= 0)
    part = np.broadcast_to(np.arange(index.shape[1])[:, None], index.shape)
    if recipe.fusion == "modality":
        part = recipe.modality[index]
    elif recipe.fusion == "pooled":
        part = np.zeros_like(index)
    num_parts = max(2, index.shape[1])
    flat = np.where(valid, np.arange(len(index))[:, None, None] * num_parts + part, -1)
    counts = np.bincount(flat[valid], minlength=len(index) * num_parts).reshape(len(index), num_parts)
    parts = (counts > 0).sum(1)
    share = 1.0 / (np.maximum(counts, 1) * np.maximum(parts, 1)[:, None])
    weight = np.where(valid, share.reshape(-1)[flat], 0).astype(np.float32)
    flat_shape = (len(index), 1, index.shape[1] * width)
    return NeighborLists(np.where(valid, index, -1).reshape(flat_shape), weight.reshape(flat_shape))
