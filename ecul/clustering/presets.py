"""The five presets as recipes of one engine: which lists, which ranges, how encodings fuse, what is filtered.

Where the public code of a preset has an off-by-one, the recipe has it too (docs/method.md says which).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ecul.clustering.search.lists import NeighborLists, NeighborSpec, within_reach
from ecul.types import ClusteringParameters, FeatureBank, IntArray, group_ids


@dataclass(frozen=True)
class Recipe:
    """A preset with its numbers filled in, over one set of images.

    Attributes:
        spec: lists to search.
        encode_slot: int32 (G, G), as `NeighborSpec.slot`, of the lists that the encoding uses.
        full_depth: int32 (S,), range of the reciprocal neighbours in each of those lists (k1).
        half_depth: int32 (S,), range of the expansion (about k1/2); empty when the preset has none.
        merge_depth: images taken from each searched list to make the encoding's single list; 0 to use them as found.
        fusion_depth: int32 (S,), neighbours fused from each searched list (k2).
        fusion: `pooled` (all fused neighbours weigh the same), `slots` (the lists' means weigh the same) or
            `modality` (pooled list split by modality, the modalities' means weigh the same).
        filter_depth: range of the filter in each searched list (k3); 0 for none.
        modality: int32 (N,).
        copies: int32 (N,), images that each of these stands for. A range of k images takes the last one's copies whole.
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
    copies: IntArray


def _ones(bank: FeatureBank) -> IntArray:
    return np.ones(len(bank), np.int32)


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
    return Recipe(
        spec=spec,
        encode_slot=spec.slot,
        full_depth=_ints(k1),
        half_depth=_ints(_half(k1)),
        merge_depth=0,
        fusion_depth=_ints(min(k2, k1)),
        fusion=fusion,
        filter_depth=0,
        modality=bank.modality,
        copies=_ones(bank),
    )


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
    return Recipe(
        spec=spec,
        encode_slot=np.zeros_like(spec.slot),
        full_depth=_ints(full),
        half_depth=_ints(min(full, _half(k1))),
        merge_depth=share,
        fusion_depth=np.full(spec.num_slots, k2, np.int32),
        fusion="slots",
        filter_depth=0,
        modality=bank.modality,
        copies=_ones(bank),
    )


def _camera_aware(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """CA-Jaccard: a same-camera and an other-camera list, both one longer than their k1; no expansion."""
    k1_intra, k1_inter, k2_intra, k2_inter = _need(parameters, "k1_intra", "k1_inter", "k2_intra", "k2_inter")
    group = group_ids(bank.modality, bank.camera)
    num_groups = int(group.max(initial=0)) + 1
    slot = 1 - np.eye(num_groups, dtype=np.int32)
    spec = NeighborSpec(group, slot, max(k1_intra + 1, k1_inter + 1, k2_intra, k2_inter))
    return Recipe(
        spec=spec,
        encode_slot=slot,
        full_depth=_ints(k1_intra + 1, k1_inter + 1)[: spec.num_slots],
        half_depth=_ints(),
        merge_depth=0,
        fusion_depth=_ints(k2_intra, k2_inter)[: spec.num_slots],
        fusion="pooled",
        filter_depth=0,
        modality=bank.modality,
        copies=_ones(bank),
    )


def _emcc(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """ECUL, EMCC steps 1 to 6 (docs/method.md)."""
    k1, k2, k3 = _need(parameters, "k1", "k2", "k3")
    cameras = bank.camera if parameters.groups != "modality" else np.zeros_like(bank.camera)
    spec = _list_per_group(group_ids(bank.modality, cameras), max(k1, k2, k3))
    ranges = [np.full(spec.num_slots, k, np.int32) for k in (k1, -(-k1 // 2), k2)]
    return Recipe(
        spec=spec,
        encode_slot=spec.slot,
        full_depth=ranges[0],
        half_depth=ranges[1],
        merge_depth=0,
        fusion_depth=ranges[2],
        fusion="slots",
        filter_depth=k3,
        modality=bank.modality,
        copies=_ones(bank),
    )


_RECIPES: dict[str, Callable[[FeatureBank, ClusteringParameters], Recipe]] = {
    "kreciprocal": _kreciprocal,
    "modality_balanced": _modality_balanced,
    "balanced_neighbours": _balanced_neighbours,
    "camera_aware": _camera_aware,
    "emcc": _emcc,
}


def build_recipe(bank: FeatureBank, parameters: ClusteringParameters, copies: IntArray | None = None) -> Recipe:
    """The recipe of a preset over the bank's images.

    Args:
        bank: the images; their features are not read.
        parameters: preset and its numbers.
        copies: int32 (N,), images that each stands for; None for one each.

    Raises:
        ValueError: unknown preset, unknown grouping, or a range that the preset needs is missing.
    """
    if parameters.preset not in _RECIPES:
        raise ValueError(f"got preset {parameters.preset!r}; choose one of {', '.join(_RECIPES)}")
    if parameters.preset == "emcc" and parameters.groups not in (None, "modality_camera", "modality"):
        raise ValueError(f"got groups {parameters.groups!r}; choose modality_camera or modality")
    if not len(bank):
        bank = replace(bank, modality=np.zeros(0, np.int32), camera=np.zeros(0, np.int32))
    recipe = _RECIPES[parameters.preset](bank, parameters)
    return recipe if copies is None else replace(recipe, copies=copies)


def merged_lists(lists: NeighborLists, recipe: Recipe, start: int = 0) -> NeighborLists:
    """One list of every image: the first `merge_depth` of each of its lists, by (distance, index), itself first.

    Args:
        lists: lists of consecutive images.
        recipe: the preset.
        start: number of the first of these images.
    """
    share = np.full(lists.index.shape[1], recipe.merge_depth, np.int32)
    index = within_reach(lists.index, share, recipe.copies)
    distance = np.where(index < 0, np.float32(np.inf), lists.distance[:, :, : index.shape[2]])
    width = index.shape[1] * index.shape[2]
    index, distance = index.reshape(len(lists), width), distance.reshape(len(lists), width)
    itself = index == np.arange(start, start + len(lists), dtype=np.int32)[:, None]
    key = np.where(itself, np.float32(-1), distance)
    by_index = np.argsort(index, axis=1, kind="stable")
    by_distance = np.argsort(np.take_along_axis(key, by_index, 1), axis=1, kind="stable")
    order = np.take_along_axis(by_index, by_distance, 1)
    return NeighborLists(np.take_along_axis(index, order, 1)[:, None], np.take_along_axis(distance, order, 1)[:, None])
