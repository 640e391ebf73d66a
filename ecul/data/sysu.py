"""SYSU-MM01 in its original folders: `camN/IIII/*.jpg` and `exp/{train_id,val_id,test_id}.txt`."""

from pathlib import Path

from ecul.data.listing import ImageRow, SplitRows, list_images, numbered_folders, read_identity_list
from ecul.errors import DataError
from ecul.types import Modality

VISIBLE_CAMERAS = (1, 2, 4, 5)
INFRARED_CAMERAS = (3, 6)
SPLIT_FILES = ("exp/train_id.txt", "exp/val_id.txt", "exp/test_id.txt")


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
                        ImageRow(modality, camera, identity, path) for path in list_images(identity_folder)
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
