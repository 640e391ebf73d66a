"""The presets as recipes of one engine: which lists, which ranges, how encodings fuse, what is filtered.

Where the public code of a preset has an off-by-one, the recipe has it too (docs/method.md says which).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np

from ecul.clustering.search.lists import NeighborLists, NeighborSpec, within_reach
from ecul.names import Balance, Groups, Reading, Reciprocal
from ecul.types import ClusteringParameters, FeatureBank, IntArray, Modality, group_ids


@dataclass(frozen=True)
class Recipe:
    """A preset with its numbers filled in, over one set of images.

    Attributes:
        spec: lists to search.
        encode_slot: int32 (G, G), as `NeighborSpec.slot`, of the lists that the encoding uses.
        full_depth: int32 (S,), range of the reciprocal neighbours in each of those lists (k1).
        half_depth: int32 (S,), range of the expansion (about k1/2); empty when the preset has none.
        merge_depth: images taken from each searched list to make the encoding's single list; 0 to use them as found.
        fusion_depth: int32 (S',), neighbours fused from each list (k2; of `fusion_spec` if there is one).
        part: int32 (N,), the group that an image is fused in: the means over the groups are averaged.
        side: int32 (number of groups,), sides whose averages over their groups weigh the same.
        copies: int32 (N,), images that each of these stands for. A range of k images takes the last one's copies whole.
        quota: images of each group that are fused, the nearest; 0 for all.
        filter_depth: range of the filter in each list (k3; of `fusion_spec` if there is one); 0 for none.
        fusion_spec: lists for the fusion and the filter alone; None: those of `spec`.
    """

    spec: NeighborSpec
    encode_slot: IntArray
    full_depth: IntArray
    half_depth: IntArray
    merge_depth: int
    fusion_depth: IntArray
    part: IntArray
    side: IntArray
    copies: IntArray
    quota: int = 0
    filter_depth: int = 0
    fusion_spec: NeighborSpec | None = None

    @property
    def specs(self) -> list[NeighborSpec]:
        """The lists to search: the encoding's and, where it has its own, the fusion's."""
        return [self.spec] if self.fusion_spec is None else [self.spec, self.fusion_spec]


def _ones(bank: FeatureBank) -> IntArray:
    return np.ones(len(bank), np.int32)


def _pooled(bank: FeatureBank) -> tuple[IntArray, IntArray]:
    """All fused neighbours weigh the same: one group, one side."""
    return np.zeros(len(bank), np.int32), np.zeros(1, np.int32)


def _by_modality(bank: FeatureBank) -> tuple[IntArray, IntArray]:
    """The modalities are the groups, and weigh the same."""
    return group_ids(bank.modality, np.zeros_like(bank.modality)), np.zeros(len(Modality), np.int32)


def _by_group(bank: FeatureBank, parameters: ClusteringParameters, balance: str) -> tuple[IntArray, IntArray]:
    """Groups of `parameters.groups`, all on one side, or with the modalities as sides."""
    cameras = bank.camera if parameters.groups != "modality" else np.zeros_like(bank.camera)
    group = group_ids(bank.modality, cameras)
    side = np.zeros(int(group.max(initial=0)) + 1, np.int32)
    if balance == "modalities":
        side[group] = bank.modality
    return group, side


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


def _over_all(bank: FeatureBank, k1: int, depth: int, parts: tuple[IntArray, IntArray], *, quota: int = 0) -> Recipe:
    """Zhong et al. 2017 as ADCA runs it: k1 counts the image itself, and the lists hold no more than k1 images."""
    spec = _one_list(bank, max(k1, depth))
    return Recipe(
        spec=spec,
        encode_slot=spec.slot,
        full_depth=_ints(k1),
        half_depth=_ints(_half(k1)),
        merge_depth=0,
        fusion_depth=_ints(min(depth, k1)),
        part=parts[0],
        side=parts[1],
        copies=_ones(bank),
        quota=quota,
    )


def _kreciprocal(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    k1, k2 = _need(parameters, "k1", "k2")
    return _over_all(bank, k1, k2, _pooled(bank))


def _modality_balanced(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """PCA: the k2 fused neighbours are split by modality."""
    k1, k2 = _need(parameters, "k1", "k2")
    return _over_all(bank, k1, k2, _by_modality(bank))


def _camera_window(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """MPJL's older expansion: the k2 fused neighbours are split by camera, the cameras' means by modality."""
    k1, k2 = _need(parameters, "k1", "k2")
    return _over_all(bank, k1, k2, _by_group(bank, parameters, parameters.balance or "modalities"))


def _camera_quota(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """MPJL: of the k3 nearest, at most k2 of each camera; with k2 = 1 its encodings are not expanded."""
    k1, k2, k3 = _need(parameters, "k1", "k2", "k3")
    parts = _by_group(bank, parameters, parameters.balance or "modalities")
    return _over_all(bank, k1, k3 if k2 > 1 else 1, parts, quota=k2)


def _balanced_neighbours(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """BMIL: k1/2 neighbours of each modality, merged by distance into one list."""
    k1, k2 = _need(parameters, "k1", "k2")
    part, side = _by_modality(bank)
    share = max(1, k1 // 2)
    spec = _list_per_group(part, max(share, k2))
    full = share * spec.num_slots
    return Recipe(
        spec=spec,
        encode_slot=np.zeros_like(spec.slot),
        full_depth=_ints(full),
        half_depth=_ints(min(full, _half(k1))),
        merge_depth=share,
        fusion_depth=np.full(spec.num_slots, k2, np.int32),
        part=part,
        side=side,
        copies=_ones(bank),
    )


def _camera_aware(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """CA-Jaccard: a same-camera and an other-camera list, both one longer than their k1; no expansion."""
    k1_intra, k1_inter, k2_intra, k2_inter = _need(parameters, "k1_intra", "k1_inter", "k2_intra", "k2_inter")
    group = group_ids(bank.modality, bank.camera)
    num_groups = int(group.max(initial=0)) + 1
    slot = 1 - np.eye(num_groups, dtype=np.int32)
    spec = NeighborSpec(group, slot, max(k1_intra + 1, k1_inter + 1, k2_intra, k2_inter))
    part, side = _pooled(bank)
    return Recipe(
        spec=spec,
        encode_slot=slot,
        full_depth=_ints(k1_intra + 1, k1_inter + 1)[: spec.num_slots],
        half_depth=_ints(),
        merge_depth=0,
        fusion_depth=_ints(k2_intra, k2_inter)[: spec.num_slots],
        part=part,
        side=side,
        copies=_ones(bank),
    )


def _emcc(bank: FeatureBank, parameters: ClusteringParameters) -> Recipe:
    """ECUL, EMCC steps 1 to 6 in both readings, and their combinations (docs/method.md)."""
    k1, k2, k3 = _need(parameters, "k1", "k2", "k3")
    window = parameters.reading == "window"
    over_all = (parameters.reciprocal or ("all" if window else "groups")) == "all"
    balance = parameters.balance or ("modalities" if window else "groups")
    if window and over_all:
        return _camera_quota(bank, replace(parameters, preset="camera_quota", reading=None, reciprocal=None))
    part, side = _by_group(bank, parameters, balance)
    by_group = _list_per_group(part, max(k2, k3) if over_all else k1 if window else max(k1, k2, k3))
    if over_all:
        recipe = _over_all(bank, k1, 1, (part, side))
    else:
        recipe = Recipe(
            spec=by_group,
            encode_slot=by_group.slot,
            full_depth=np.full(by_group.num_slots, k1, np.int32),
            half_depth=np.full(by_group.num_slots, -(-k1 // 2), np.int32),
            merge_depth=0,
            fusion_depth=_ints(),
            part=part,
            side=side,
            copies=_ones(bank),
        )
    if window:
        return replace(recipe, fusion_spec=_one_list(bank, k3), fusion_depth=_ints(k3), quota=k2)
    fusion = None if recipe.spec is by_group else by_group
    depth = np.full(by_group.num_slots, k2, np.int32)
    return replace(recipe, fusion_spec=fusion, fusion_depth=depth, filter_depth=k3)


_RECIPES: dict[str, Callable[[FeatureBank, ClusteringParameters], Recipe]] = {
    "kreciprocal": _kreciprocal,
    "modality_balanced": _modality_balanced,
    "balanced_neighbours": _balanced_neighbours,
    "camera_aware": _camera_aware,
    "camera_quota": _camera_quota,
    "camera_window": _camera_window,
    "emcc": _emcc,
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "groups": get_args(Groups),
    "reading": get_args(Reading),
    "reciprocal": get_args(Reciprocal),
    "balance": get_args(Balance),
}


def build_recipe(bank: FeatureBank, parameters: ClusteringParameters, copies: IntArray | None = None) -> Recipe:
    """The recipe of a preset over the bank's images.

    Args:
        bank: the images; their features are not read.
        parameters: preset and its numbers.
        copies: int32 (N,), images that each stands for; None for one each.

    Raises:
        ValueError: unknown preset or choice, or a range that the preset needs is missing.
    """
    if parameters.preset not in _RECIPES:
        raise ValueError(f"got preset {parameters.preset!r}; choose one of {', '.join(_RECIPES)}")
    for name, known in _CHOICES.items():
        if getattr(parameters, name) not in (None, *known):
            raise ValueError(f"got {name} {getattr(parameters, name)!r}; choose {' or '.join(known)}")
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
