"""What the dataset readers share: image rows, folder listings, split files."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecul.errors import DataError
from ecul.types import LabelledIndex, Modality, SampleIndex

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class ImageRow(NamedTuple):
    """One image of a dataset. The field order is the order of every index, with `path` deciding the rest."""

    modality: Modality
    camera: int
    identity: int
    path: str


@dataclass(frozen=True)
class SplitRows:
    """The images of a dataset by split.

    Attributes:
        train: images of the training identities, without those of `validation`.
        validation: images of the dataset's own validation identities; empty where it names none.
        test: all images of the test identities, of both modalities.
    """

    train: list[ImageRow]
    validation: list[ImageRow]
    test: list[ImageRow]


def to_index(rows: Iterable[ImageRow]) -> LabelledIndex:
    """Returns the rows as an index sorted by modality, camera, identity and path.

    Within one identity and camera the images therefore follow their sorted file names.
    """
    ordered = sorted(rows)
    samples = SampleIndex(
        paths=tuple(row.path for row in ordered),
        modality=np.array([row.modality for row in ordered], np.int32),
        camera=np.array([row.camera for row in ordered], np.int32),
    )
    return LabelledIndex(samples=samples, identity=np.array([row.identity for row in ordered], np.int32))


def list_images(folder: Path) -> list[str]:
    """Returns the paths of the images directly inside a folder, by sorted name; hidden files are left out."""
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and entry.name.lower().endswith(IMAGE_SUFFIXES)
        ]
    return [str(folder / name) for name in sorted(names)]


def numbered_folders(folder: Path) -> list[tuple[int, Path]]:
    """Returns (number, path) of the sub-folders whose whole name is a number, in the order of the numbers."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.isdecimal() and entry.is_dir()]
    return sorted((int(name), folder / name) for name in names)


def read_identity_list(path: Path) -> list[int]:
    """Returns the identities of a split file (integers parted by commas or white space), sorted, each once.

    Raises:
        DataError: no such file, or it holds something else.
    """
    text = read_split_file(path).replace(",", " ")
    try:
        identities = sorted({int(word) for word in text.split()})
    except ValueError as error:
        raise DataError(f"{path}: expected integers parted by commas ({error}); restore the original file") from None
    if not identities:
        raise DataError(f"{path} names no identity; restore the original file")
    return identities


def read_labelled_list(root: Path, name: str) -> list[tuple[str, int]]:
    """Returns (image path, label) for each line `relative/path label` of a split file.

    Raises:
        DataError: no such file, or a line of another form.
    """
    listed: list[tuple[str, int]] = []
    for number, line in enumerate(read_split_file(root / name).splitlines(), start=1):
        if not line.strip():
            continue
        # any blank parts path and label; paths may hold blanks themselves
        *relative, label = line.strip().replace("\\", "/").rsplit(None, 1)
        if not relative or not label.removeprefix("-").isdecimal():
            raise DataError(f"{root / name} line {number}: expected `relative/path label`, got {line.strip()!r}")
        listed.append((str(root / relative[0]), int(label)))
    return listed


def read_split_file(path: Path) -> str:
    """Returns the text of a split file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the split file {path} ({error}); it comes with the dataset") from None
