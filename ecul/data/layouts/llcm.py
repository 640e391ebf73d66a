"""LLCM in its original folders: `idx/train_{vis,nir}.txt`, `idx/test_id.txt`, `test_{vis,nir}/camN/ID/`."""

import re
from pathlib import Path

from ecul.data.layouts.layout import Layout
from ecul.data.layouts.listing import (
    ImageRow,
    SplitRows,
    list_images,
    numbered_folders,
    read_identity_list,
    read_labelled_list,
)
from ecul.errors import DataError
from ecul.types import Modality, RetrievalProtocol

CAMERAS = tuple(range(1, 10))
TRAIN_FILES = {Modality.VISIBLE: "idx/train_vis.txt", Modality.INFRARED: "idx/train_nir.txt"}
TEST_FOLDERS = {Modality.VISIBLE: "test_vis", Modality.INFRARED: "test_nir"}
TEST_IDENTITIES = "idx/test_id.txt"
_CAMERA_IN_NAME = re.compile(r"(?:^|[_-])c(?:am)?0*(\d+)(?=[_.-])", re.IGNORECASE)


def read_llcm(root: Path) -> SplitRows:
    """Returns the images of LLCM by split.

    Training cameras are read from the file names (`0001_c04_...`), test cameras from the folders. A test camera
    without a folder has no images (the real camera 3 is empty in infrared).

    Raises:
        DataError: a split file, a listed image or a test folder is missing, or a name gives no camera.
    """
    train = [
        ImageRow(modality=modality, camera=_camera_of(path), identity=label, path=path)
        for modality, name in TRAIN_FILES.items()
        for path, label in read_labelled_list(root, name)
    ]
    identities = set(read_identity_list(root / TEST_IDENTITIES))
    test = [row for modality in Modality for row in _test_rows(root, modality, identities)]
    return SplitRows(train=train, validation=[], test=test)


def _camera_of(path: str) -> int:
    found = _CAMERA_IN_NAME.search(Path(path).name)
    if found is None or int(found.group(1)) not in CAMERAS:
        raise DataError(f"{path}: no camera number 1 to 9 in the file name (expected a part such as _c04_)")
    return int(found.group(1))


def _test_rows(root: Path, modality: Modality, identities: set[int]) -> list[ImageRow]:
    folder = root / TEST_FOLDERS[modality]
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist; LLCM has the folders test_vis and test_nir, unpack both")
    return [
        ImageRow(modality=modality, camera=camera, identity=identity, path=path)
        for camera in CAMERAS
        if (folder / f"cam{camera}").is_dir()
        for identity, identity_folder in numbered_folders(folder / f"cam{camera}")
        if identity in identities
        for path in list_images(identity_folder)
    ]


LAYOUT = Layout(
    name="llcm",
    split_files=(*TRAIN_FILES.values(), TEST_IDENTITIES),
    read=lambda root, _: read_llcm(root),
    known_counts={
        "train": {"identities": 713, "visible": 16_946, "infrared": 13_975},
        "test": {"identities": 351, "visible": 8_680, "infrared": 7_166},
    },
    protocols=(
        RetrievalProtocol(name="llcm_visible_to_infrared", rule="llcm", query_modality=Modality.VISIBLE, num_shots=1),
        RetrievalProtocol(name="llcm_infrared_to_visible", rule="llcm", query_modality=Modality.INFRARED, num_shots=1),
    ),
)
