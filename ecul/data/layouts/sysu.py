"""SYSU-MM01 in its original folders: `camN/IIII/*.jpg` and `exp/{train_id,val_id,test_id}.txt`."""

from pathlib import Path

import numpy as np

from ecul.data.layouts.counts import KnownMistake
from ecul.data.layouts.layout import Layout
from ecul.data.layouts.listing import ImageRow, SplitRows, list_images, numbered_folders, read_identity_list
from ecul.errors import DataError
from ecul.types import LabelledIndex, Modality, RetrievalProtocol

VISIBLE_CAMERAS = (1, 2, 4, 5)
INFRARED_CAMERAS = (3, 6)
SPLIT_FILES = ("exp/train_id.txt", "exp/val_id.txt", "exp/test_id.txt")
_INDOOR_CAMERAS = (1, 2)
_MULTI_SHOT = 10
_MAX_NAMED = 5
# images of a single-shot gallery: one for each test identity and camera
_GALLERIES = {"all": (VISIBLE_CAMERAS, 301), "indoor": (_INDOOR_CAMERAS, 112)}


def read_sysu(root: Path) -> SplitRows:
    """Returns the images of SYSU-MM01 by split; identities in no split file are left out.

    Raises:
        DataError: a camera folder or a split file is missing, or an identity is in two splits.
    """
    split_ids = [set(read_identity_list(root / name)) for name in SPLIT_FILES]
    _require_disjoint(root, split_ids)
    rows: tuple[list[ImageRow], ...] = ([], [], [])
    for camera in sorted(VISIBLE_CAMERAS + INFRARED_CAMERAS):
        folder = root / f"cam{camera}"
        if not folder.is_dir():
            raise DataError(f"{folder} does not exist; SYSU-MM01 has the folders cam1 to cam6, unpack all of them")
        modality = Modality.VISIBLE if camera in VISIBLE_CAMERAS else Modality.INFRARED
        for identity, identity_folder in numbered_folders(folder):
            for split, identities in enumerate(split_ids):
                if identity in identities:
                    rows[split].extend(
                        ImageRow(modality=modality, camera=camera, identity=identity, path=path)
                        for path in list_images(identity_folder)
                    )
    return SplitRows(*rows)


def _require_disjoint(root: Path, split_ids: list[set[int]]) -> None:
    for first, second in ((0, 2), (1, 2), (0, 1)):
        shared = split_ids[first] & split_ids[second]
        if shared:
            raise DataError(
                f"{root}: {SPLIT_FILES[first]} and {SPLIT_FILES[second]} share {len(shared)} identities "
                f"(such as {min(shared)}); restore the original split files"
            )


def find_problems(root: Path, train: LabelledIndex, test: LabelledIndex, real: bool) -> list[str]:
    """Returns identities that the split files name and no camera has, and galleries of a wrong size."""
    problems: list[str] = []
    present = {*train.identity.tolist(), *test.identity.tolist()}
    for name in SPLIT_FILES:
        absent = [identity for identity in read_identity_list(root / name) if identity not in present]
        if absent:
            problems.append(
                f"{len(absent)} identities of {name} have no image under any camera (such as "
                f"{', '.join(map(str, absent[:_MAX_NAMED]))}); unpack the camera folders again"
            )
    for search, (cameras, expected) in _GALLERIES.items() if real else ():
        chosen = np.isin(test.samples.camera, cameras)
        size = len(np.unique(np.stack([test.identity[chosen], test.samples.camera[chosen]], axis=1), axis=0))
        if size != expected:
            problems.append(
                f"the single-shot gallery of {search} search has {size} images, expected {expected}; "
                "images of test identities are missing"
            )
    return problems


def _protocol(name: str, cameras: tuple[int, ...], num_shots: int) -> RetrievalProtocol:
    return RetrievalProtocol(
        name=name,
        rule="sysu",
        query_modality=Modality.INFRARED,
        gallery_cameras=cameras,
        num_shots=num_shots,
        official_galleries=True,
    )


_PARTIAL = (
    "this preparation is known: it lacks 28 training identities and has cost several points of Rank-1; "
    "unpack all six camera folders again and use train_id.txt together with val_id.txt"
)
_NO_VALIDATION = "the 99 identities of val_id.txt are missing; every published result trains on train_id and val_id"
LAYOUT = Layout(
    name="sysu",
    split_files=SPLIT_FILES,
    read=lambda root, _: read_sysu(root),
    known_counts={
        "train": {"identities": 395, "visible": 22_258, "infrared": 11_909},
        "test": {"identities": 96, "visible": 6_775, "infrared": 3_803},
    },
    known_mistakes=(
        KnownMistake(split="train", quantity="identities", count=367, cause=_PARTIAL),
        KnownMistake(split="train", quantity="infrared", count=11_333, cause=_PARTIAL),
        KnownMistake(split="train", quantity="identities", count=296, cause=_NO_VALIDATION),
    ),
    protocols=(
        _protocol("sysu_all_single", VISIBLE_CAMERAS, 1),
        _protocol("sysu_all_multi", VISIBLE_CAMERAS, _MULTI_SHOT),
        _protocol("sysu_indoor_single", _INDOOR_CAMERAS, 1),
        _protocol("sysu_indoor_multi", _INDOOR_CAMERAS, _MULTI_SHOT),
    ),
    find_problems=find_problems,
)
