"""Opens a dataset in its original folder layout: what to train on, what to validate and to test on."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecul.data.layouts import LAYOUTS, find_layout
from ecul.data.layouts.listing import ImageRow, SplitRows, to_index
from ecul.errors import DataError
from ecul.types import LabelledIndex, Modality

SYNTHETIC_MARKER = "ecul-synthetic.json"
_VALIDATION_SHARE = 0.2
_VALIDATION_SEED = 0


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


def open_dataset(root: str | Path, *, layout: str, trial: int = 1, hold_out_validation: bool = False) -> ReidDataset:
    """Returns the dataset in a folder; nothing is copied or renamed.

    Args:
        root: the dataset's folder.
        layout: a name of `ecul.names.LayoutName`, or `auto` to recognise it.
        trial: split of a layout that has several (RegDB: 1 to 10); the other layouts have one.
        hold_out_validation: keep validation identities out of training: SYSU-MM01's own 99, elsewhere a fixed
            fifth of the training identities. Without it everything is trained on, as in the published results.

    Raises:
        DataError: the folder, a split file or a listed image is missing, or a split is empty.
    """
    path = _existing(root)
    layout = detect_layout(path) if layout == "auto" else layout
    rows = find_layout(layout).read(path, trial)
    if hold_out_validation and not rows.validation:
        rows = _hold_out(rows)
    if not hold_out_validation:
        rows = SplitRows(train=rows.train + rows.validation, validation=[], test=rows.test)
    _require_both_modalities(path, {"training": rows.train, "test": rows.test})
    return ReidDataset(
        name=f"synthetic-{layout}" if (path / SYNTHETIC_MARKER).is_file() else layout,
        layout=layout,
        root=str(path),
        train=to_index(rows.train),
        validation=to_index(rows.validation) if hold_out_validation else None,
        test=to_index(rows.test),
    )


def detect_layout(root: str | Path) -> str:
    """Returns the layout whose split files are in a folder.

    Raises:
        DataError: no layout, or more than one, has its split files there.
    """
    path = _existing(root)
    matching = [
        layout.name for layout in LAYOUTS.values() if all((path / name).is_file() for name in layout.split_files)
    ]
    if len(matching) == 1:
        return matching[0]
    looked_for = "; ".join(f"{layout.name}: {', '.join(layout.split_files)}" for layout in LAYOUTS.values())
    count = "more than one known layout" if matching else "no known layout"
    raise DataError(f"{path} has {count}; looked for the split files of {looked_for}")


def digest(dataset: ReidDataset) -> str:
    """Returns 16 hexadecimal digits that change with any image's relative path or size, or the split it is in.

    Holding identities out for validation does not change it.
    """
    training = dataset.train.samples.paths + (dataset.validation.samples.paths if dataset.validation else ())
    state = hashlib.sha256(dataset.layout.encode())
    for split, paths in (("train", training), ("test", dataset.test.samples.paths)):
        for path in sorted(paths):
            relative = os.path.relpath(path, dataset.root).replace(os.sep, "/")
            state.update(f"{split}\0{relative}\0{os.path.getsize(path)}\n".encode())
    return state.hexdigest()[:16]


def _existing(root: str | Path) -> Path:
    path = Path(root)
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
