"""What images a synthetic dataset has, where each goes, and the split files of its layout."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecul.data.layouts import llcm, regdb, sysu
from ecul.data.synthetic.counters import uniform
from ecul.data.synthetic.drawing import Shots
from ecul.data.synthetic.presence import Presence, draw_presence, imbalanced_presences, without_a_modality
from ecul.errors import DataError
from ecul.files import read_npz
from ecul.types import Modality

_TRIAL_KIND = 42
_SYSU_VALIDATION_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """A synthetic dataset before it is drawn.

    Attributes:
        parts: the images, visible first, and the path of each, relative to the dataset.
        folders: folders that the layout always has, even where no image falls into them.
        files: text of each split file, by relative path.
        counts: identities, visible and infrared images, by split (`train`, `test`); for RegDB, of each trial.
    """

    parts: tuple[tuple[Shots, list[str]], ...]
    folders: tuple[str, ...]
    files: dict[str, str]
    counts: dict[str, dict[str, int]]

    def __len__(self) -> int:
        """Number of images."""
        return sum(len(shots) for shots, _ in self.parts)


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """How many people and images a plan has, and who is seen by which camera.

    Attributes:
        num_identities: people to train on, validation included.
        num_test_identities: further people, to test on.
        images_per_camera: mean number of images of a person under a camera that sees it; None is the layout's own.
        imbalanced: `sysu` only: people, cameras and modalities are as uneven as in the real SYSU-MM01.
        unpaired_share: share of the training people (not of the validation and test people) who are seen in one
            modality only, half of them in each, in [0, 1]; `sysu` only.
        seed: decides who is seen by which camera how often, and RegDB's trials.
    """

    num_identities: int
    num_test_identities: int
    seed: int
    images_per_camera: int | None = None
    imbalanced: bool = False
    unpaired_share: float = 0.0

    @property
    def identities(self) -> NDArray[np.int64]:
        """Everybody's number, from 1; those to test on come last."""
        return np.arange(1, self.num_identities + self.num_test_identities + 1)


def make_plan(layout: str, request: PlanRequest) -> Plan:
    """Returns the plan of a synthetic dataset.

    Args:
        layout: one of `DRAWN_LAYOUTS`.
        request: how many people and images.

    Raises:
        DataError: the layout has no plan, or none with what is asked for.
    """
    if layout not in _PLANS:
        raise DataError(f"no synthetic plan for layout {layout!r}; choose one of {', '.join(_PLANS)}")
    if layout != "sysu" and (request.imbalanced or request.unpaired_share):
        raise DataError(f"unpaired people and a benchmark's imbalance are of the sysu layout, got {layout}")
    if not 0 <= request.unpaired_share <= 1:
        raise DataError(f"the share of unpaired people is {request.unpaired_share}, expected a number in [0, 1]")
    default_images, plan = _PLANS[layout]
    return plan(request, request.images_per_camera or default_images)


def plan_from_counts(path: Path) -> Plan:
    """Returns a SYSU-MM01 plan with the real set's number of images of each identity under each camera.

    Args:
        path: npz with `counts` (6, I) for identities 1..I, `train_id` and `test_id`. Identities seen in both
            modalities and in neither list are for validation, the others in no split.

    Raises:
        DataError: the file cannot be used.
    """
    names = ("counts", "train_id", "test_id")
    arrays = read_npz(path, names, what="a file of image counts")
    odd = [name for name in names if arrays[name].dtype.kind not in "iu"]
    if odd:
        raise DataError(f"{path}: {odd[0]} is {arrays[odd[0]].dtype}, expected whole numbers")
    counts, train, test = (arrays[name].astype(np.int64) for name in names)
    cameras = sysu.VISIBLE_CAMERAS + sysu.INFRARED_CAMERAS
    if counts.ndim != 2 or len(counts) != len(cameras) or counts.min() < 0 or counts.sum() == 0:
        raise DataError(f"{path}: counts has shape {counts.shape}, expected (6, identities), not negative")
    identities = np.arange(1, counts.shape[1] + 1)
    presences = tuple(
        Presence(counts=counts[np.array(group) - 1].T, identities=identities, cameras=group, infrared=infrared)
        for group, infrared in ((sysu.VISIBLE_CAMERAS, False), (sysu.INFRARED_CAMERAS, True))
    )
    seen_by_both = np.all([presence.counts.sum(axis=1) > 0 for presence in presences], axis=0)
    validation = np.setdiff1d(identities[seen_by_both], np.concatenate([train, test]))
    return _sysu_plan(presences, (np.sort(train), validation, np.sort(test)))


def _paths(shots: Shots, name: Callable[[int, int, int], str]) -> list[str]:
    columns = (column.tolist() for column in (shots.identity, shots.camera, shots.number))
    return [name(identity, camera, number) for identity, camera, number in zip(*columns, strict=True)]


def _sysu_plan(presences: tuple[Presence, ...], splits: tuple[NDArray[np.int64], ...]) -> Plan:
    def name(identity: int, camera: int, number: int) -> str:
        return f"cam{camera}/{identity:04d}/{number + 1:04d}.jpg"

    parts = tuple((presence.shots(), _paths(presence.shots(), name)) for presence in presences)
    files = {
        file: ",".join(map(str, identities)) + "\n" for file, identities in zip(sysu.SPLIT_FILES, splits, strict=True)
    }
    folders = tuple(f"cam{camera}" for camera in sysu.VISIBLE_CAMERAS + sysu.INFRARED_CAMERAS)
    sizes = _count_splits(parts, np.concatenate(splits[:2]), splits[2])
    return Plan(parts=parts, folders=folders, files=files, counts=sizes)


def _drawn_sysu_plan(request: PlanRequest, mean: int) -> Plan:
    seed, identities, num_train = request.seed, request.identities, request.num_identities
    if request.imbalanced:
        presences = imbalanced_presences(seed, identities, mean)
    else:
        presences = (
            draw_presence(seed, identities, sysu.VISIBLE_CAMERAS, mean, infrared=False, share=0.75),
            draw_presence(seed, identities, sysu.INFRARED_CAMERAS, mean, infrared=True, share=0.9),
        )
    num_validation = min(max(1, round(_SYSU_VALIDATION_SHARE * num_train)), num_train - 1)
    parting = num_train - num_validation
    if request.unpaired_share:
        presences = without_a_modality(seed, presences, num_people=parting, share=request.unpaired_share)
    splits = identities[:parting], identities[parting:num_train], identities[num_train:]
    return _sysu_plan(presences, splits)


def _llcm_plan(request: PlanRequest, mean: int) -> Plan:
    seed, identities, num_train = request.seed, request.identities, request.num_identities
    is_test = identities > num_train
    parts: list[tuple[Shots, list[str]]] = []
    files = {llcm.TEST_IDENTITIES: ",".join(map(str, identities[is_test])) + "\n"}
    tests = set(identities[is_test].tolist())
    labels = {int(identity): label for label, identity in enumerate(identities[~is_test])}
    for modality in Modality:
        cameras = llcm.CAMERAS if modality == Modality.VISIBLE else tuple(c for c in llcm.CAMERAS if c != 3)
        presence = draw_presence(seed, identities, cameras, mean, infrared=bool(modality), share=0.5)
        suffix = ("vis", "nir")[modality]

        def name(identity: int, camera: int, number: int, suffix: str = suffix) -> str:
            folder = f"test_{suffix}/cam{camera}" if identity in tests else suffix
            file = f"{identity:04d}_c{camera:02d}_s{identity:06d}_f{number + 1:04d}_{suffix}.jpg"
            return f"{folder}/{identity:04d}/{file}"

        shots = presence.shots()
        paths = _paths(shots, name)
        lines = [
            f"{path} {labels[identity]}\n"
            for path, identity in zip(paths, shots.identity.tolist(), strict=True)
            if identity in labels
        ]
        files[llcm.TRAIN_FILES[modality]] = "".join(lines)
        parts.append((shots, paths))
    folders = tuple(llcm.TEST_FOLDERS.values())
    sizes = _count_splits(tuple(parts), identities[~is_test], identities[is_test])
    return Plan(parts=tuple(parts), folders=folders, files=files, counts=sizes)


def _regdb_plan(request: PlanRequest, mean: int) -> Plan:
    seed, identities, num_train = request.seed, request.identities, request.num_identities
    parts: list[tuple[Shots, list[str]]] = []
    files: dict[str, str] = {}
    trials = np.arange(1, regdb.NUM_TRIALS + 1)
    orders = uniform(seed, _TRIAL_KIND, trials[:, None], identities[None]).argsort(axis=1)
    for modality in Modality:
        scene = 1 + int(modality)  # the layout calls both cameras 1; they are two devices with two scenes
        counts = np.full((len(identities), 1), mean)
        shots = Presence(counts=counts, identities=identities, cameras=(scene,), infrared=bool(modality)).shots()
        folder, prefix = (("Visible", "v"), ("Thermal", "t"))[modality]

        def name(identity: int, _: int, number: int, folder: str = folder, prefix: str = prefix) -> str:
            return f"{folder}/{identity}/person_{prefix}_{identity:05d}_{number + 1}.bmp"

        paths = _paths(shots, name)
        for trial, order in zip(trials.tolist(), orders, strict=True):
            for split, chosen in (("train", order[:num_train]), ("test", order[num_train:])):
                lines = [
                    f"{paths[position * mean + number]} {label}\n"
                    for label, position in enumerate(np.sort(chosen).tolist())
                    for number in range(mean)
                ]
                files[regdb.split_file(split, modality, trial)] = "".join(lines)
        parts.append((shots, paths))
    sizes = _count_splits(tuple(parts), identities[:num_train], identities[num_train:])
    return Plan(parts=tuple(parts), folders=(), files=files, counts=sizes)


def _count_splits(
    parts: tuple[tuple[Shots, list[str]], ...], train: NDArray[Any], test: NDArray[Any]
) -> dict[str, dict[str, int]]:
    result: dict[str, dict[str, int]] = {}
    for split, identities in (("train", train), ("test", test)):
        result[split] = {"identities": len(identities)}
        for shots, _ in parts:
            name = "infrared" if shots.infrared else "visible"
            result[split][name] = int(np.isin(shots.identity, identities).sum())
    return result


_PLANS: dict[str, tuple[int, Callable[[PlanRequest, int], Plan]]] = {
    "sysu": (6, _drawn_sysu_plan),
    "regdb": (10, _regdb_plan),
    "llcm": (3, _llcm_plan),
}
"""{layout: (mean images of a person under a camera, plan from a request and that mean)}."""
DRAWN_LAYOUTS = tuple(_PLANS)
"""Layouts that synthetic people can be drawn in; a layout without a plan here can be read only."""
