"""Opens a dataset in its original folder layout: what to train on, what to validate and to test on."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecul.data.layouts import LAYOUTS, find_layout
from ecul.data.layouts.listing import ImageRow, SplitRows, to_index
from ecul.errors import DataError
from ecul.types import LabelledIndex, Modality

SYNTHETIC_MARKER = "ecul-synthetic.json"
_ASKED_AT_ONCE, _ASKED_IN_TURN = 32, 64
_VALIDATION_SHARE = 0.2
_VALIDATION_SEED = 0
_MAX_NAMED = 3
_LEVELS = 2  # folders between the one given and the dataset's own
_MOST_FOLDERS = 200


@dataclass(frozen=True)
class ReidDataset:
    """A person re-identification dataset, opened.

    Attributes:
        name: for people, such as `sysu` or `synthetic-sysu`.
        layout: a name of `ecul.names.LayoutName`.
        root: the dataset's folder.
        train: images to train on. Training gets `train.samples`; the identities serve reported quality only.
        validation: images of identities held out of `train`, or None.
        test: all test images of both modalities; protocols choose queries and galleries from it.

    Every index is sorted by modality, camera, identity and file name. RegDB numbers the people of `train` and
    `test` from 0 each, so the same number means different people there.
    """

    name: str
    layout: str
    root: str
    train: LabelledIndex
    validation: LabelledIndex | None
    test: LabelledIndex


def open_dataset(
    root: str | Path, *, layout: str, trial: int = 1, hold_out_validation: bool = False, check_files: bool = True
) -> ReidDataset:
    """Returns the dataset in a folder; nothing is copied or renamed.

    Args:
        root: the dataset's folder.
        layout: a name of `ecul.names.LayoutName`, or `auto` to recognise it.
        trial: split of a layout that has several (RegDB: 1 to 10); the other layouts have one.
        hold_out_validation: keep validation identities out of training: SYSU-MM01's own 99, elsewhere a fixed
            fifth of the training identities. Without it everything is trained on, as in the published results.
        check_files: make sure that every image is there, dangling links included.

    Raises:
        DataError: the folder, a split file or an image is missing, or a split is empty.
    """
    path = _existing(root)
    layout = detect_layout(path) if layout == "auto" else layout
    known = find_layout(layout)
    if not any((path / name).is_file() for name in known.split_files) and (inner := _dataset_inside(path)):
        raise DataError(f"{path} does not hold the split files of {layout}, but {inner} does; give that folder")
    rows = known.read(path, trial)
    if hold_out_validation and not rows.validation:
        rows = _hold_out(rows)
    if not hold_out_validation:
        rows = SplitRows(train=rows.train + rows.validation, validation=[], test=rows.test)
    _require_both_modalities(path, {"training": rows.train, "test": rows.test})
    dataset = ReidDataset(
        name=f"synthetic-{layout}" if (path / SYNTHETIC_MARKER).is_file() else layout,
        layout=layout,
        root=str(path),
        train=to_index(rows.train),
        validation=to_index(rows.validation) if hold_out_validation else None,
        test=to_index(rows.test),
    )
    if check_files and (missing := missing_files(dataset)):
        raise DataError(
            f"{path} lists {_num_images(dataset)} images, of which {len(missing)} do not exist (first: "
            f"{', '.join(missing[:_MAX_NAMED])}); unpack the dataset again, or mend its links and folder names"
        )
    return dataset


def missing_files(dataset: ReidDataset) -> list[str]:
    """Returns the images that do not exist or are dangling links, in the order of the indexes."""
    return [path for index in _indexes(dataset) for path in index.samples.paths if not os.path.isfile(path)]


def detect_layout(root: str | Path) -> str:
    """Returns the layout whose split files are in a folder.

    Raises:
        DataError: no layout, or more than one, has its split files there.
    """
    path = _existing(root)
    matching = _layouts_in(path)
    if len(matching) == 1:
        return matching[0]
    if not matching and (inner := _dataset_inside(path)):
        raise DataError(
            f"{path} has no known layout, but {inner} has that of {_layouts_in(inner)[0]}; give that folder"
        )
    looked_for = "; ".join(f"{layout.name}: {', '.join(layout.split_files)}" for layout in LAYOUTS.values())
    count = "more than one known layout" if matching else "no known layout"
    raise DataError(f"{path} has {count}; looked for the split files of {looked_for}")


def digest(dataset: ReidDataset) -> str:
    """Returns 16 hexadecimal digits that change with any image's relative path or size, or the split it is in.

    Holding identities out for validation does not change it.

    Raises:
        DataError: an image is missing.
    """
    training = dataset.train.samples.paths + (dataset.validation.samples.paths if dataset.validation else ())
    state = hashlib.sha256(dataset.layout.encode())
    for split, paths in (("train", training), ("test", dataset.test.samples.paths)):
        ordered = sorted(paths)
        for path, size in zip(ordered, _sizes(ordered), strict=True):
            relative = os.path.relpath(path, dataset.root).replace(os.sep, "/")
            state.update(f"{split}\0{relative}\0{size}\n".encode(errors="surrogateescape"))
    return state.hexdigest()[:16]


def _sizes(paths: Sequence[str]) -> list[int]:
    """Sizes of images in bytes; many are asked for at once, since storage over a network answers each slowly."""

    def of(chunk: Sequence[str]) -> list[int]:
        try:
            return [os.path.getsize(path) for path in chunk]
        except OSError as error:
            raise DataError(
                f"image {error.filename} is missing ({error.strerror}); run `ecul doctor` on the dataset"
            ) from None

    chunks = [paths[first : first + _ASKED_IN_TURN] for first in range(0, len(paths), _ASKED_IN_TURN)]
    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="sizes") as pool:
        return [size for sizes in pool.map(of, chunks) for size in sizes]


def _layouts_in(path: Path) -> list[str]:
    """The layouts whose split files are all in a folder."""
    return [layout.name for layout in LAYOUTS.values() if all((path / name).is_file() for name in layout.split_files)]


def _dataset_inside(path: Path) -> Path | None:
    """The folder below, or else above, that holds a dataset: one was unpacked too deep, or a part of it was given."""
    level = [path]
    for _ in range(_LEVELS):
        level = [folder for above in level for folder in _folders(above)][:_MOST_FOLDERS]
        if found := next((folder for folder in level if _layouts_in(folder)), None):
            return found
    return next((folder for folder in [*path.resolve().parents][:_LEVELS] if _layouts_in(folder)), None)


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones and those that archives of macOS leave."""
    try:
        return sorted(
            entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
        )
    except OSError:
        return []


def _indexes(dataset: ReidDataset) -> list[LabelledIndex]:
    return [index for index in (dataset.train, dataset.validation, dataset.test) if index is not None]


def _num_images(dataset: ReidDataset) -> int:
    return sum(len(index) for index in _indexes(dataset))


def _existing(root: str | Path) -> Path:
    path = Path(root)
    if path.exists() and not path.is_dir():
        raise DataError(f"{path} is a file; give the folder that holds the dataset's split files")
    if not path.is_dir():
        raise DataError(f"no dataset folder {path}; give the folder that holds the dataset's split files")
    return path


def _hold_out(rows: SplitRows) -> SplitRows:
    """The rows with a fixed random fifth of the training identities moved to validation."""
    identities = np.array(sorted({row.identity for row in rows.train}))
    chosen = np.random.default_rng(_VALIDATION_SEED).permutation(identities)
    held_out = set(chosen[: max(1, round(_VALIDATION_SHARE * len(identities)))].tolist())
    return SplitRows(
        train=[row for row in rows.train if row.identity not in held_out],
        validation=[row for row in rows.train if row.identity in held_out],
        test=rows.test,
    )


def _require_both_modalities(root: Path, splits: dict[str, list[ImageRow]]) -> None:
    for name, rows in splits.items():
        for modality in Modality:
            if not any(row.modality == modality for row in rows):
                raise DataError(
                    f"{root}: the {name} split has no {modality.name.lower()} images; unpack the whole dataset"
                )
