"""Checks a dataset: its size against the known one, its splits, and whether its images open."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecul.data.dataset import SYNTHETIC_MARKER, ReidDataset, digest, missing_files, open_dataset
from ecul.data.images import has_colour, is_constant, read_image
from ecul.data.layouts import Layout, find_layout
from ecul.data.layouts.counts import Counts, compare
from ecul.errors import DataError
from ecul.progress import Progress
from ecul.types import LabelledIndex, Modality

_MAX_NAMED = 5
_GREY_SHARE = 0.9


@dataclass(frozen=True)
class CountRow:
    """Size of a part of a dataset; `camera` is None for all cameras together."""

    split: str
    modality: Modality
    camera: int | None
    num_identities: int
    num_images: int


@dataclass(frozen=True)
class Inspection:
    """What was found in a dataset.

    Attributes:
        name: of the dataset.
        digest: of its files (see `ecul.data.dataset.digest`); None where images are missing.
        rows: sizes by split, modality and camera.
        num_opened: images that were decoded.
        problems: what is wrong and what to do, one sentence each; empty when all is well.
    """

    name: str
    digest: str | None
    rows: tuple[CountRow, ...]
    num_opened: int
    problems: tuple[str, ...]


def inspect_dataset(root: str | Path, *, layout: str = "auto", num_opened: int = 200) -> Inspection:
    """Returns the findings on a dataset.

    Args:
        root: the dataset's folder.
        layout: a name of `ecul.names.LayoutName`, or `auto`.
        num_opened: images of each split to decode, evenly spread; 0 for all of them.

    Raises:
        DataError: the folder cannot be read as a dataset at all.
    """
    dataset = open_dataset(root, layout=layout, check_files=False)
    known = find_layout(dataset.layout)
    folder = Path(dataset.root)
    problems = _count_problems(dataset, known)
    if known.find_problems is not None:
        real = not (folder / SYNTHETIC_MARKER).is_file()
        problems += known.find_problems(folder, dataset.train, dataset.test, real)
    missing = missing_files(dataset)
    problems += _list_of(missing, len(dataset.train) + len(dataset.test), "do not exist (or are dangling links)")
    problems += _trial_problems(dataset, known, set(missing))
    opened = 0
    for split, index in _splits(dataset):
        with Progress(f"opening {split} images", total=min(num_opened or len(index), len(index))) as progress:
            count, unusable = _image_problems(split, index, num_opened, set(missing), progress)
        opened += count
        problems += unusable
    rows = tuple(row for split, index in _splits(dataset) for row in _count_rows(split, index))
    return Inspection(
        name=dataset.name,
        digest=None if missing else digest(dataset),
        rows=rows,
        num_opened=opened,
        problems=tuple(problems),
    )


def _list_of(paths: list[str], total: int, what: str, where: str = "") -> list[str]:
    """One problem that names the first of the images it is about; none without images."""
    if not paths:
        return []
    named = ", ".join(paths[:_MAX_NAMED]) + (", ..." if len(paths) > _MAX_NAMED else "")
    return [f"{where}{len(paths)} of {total} images {what}: {named}; copy them again from the dataset"]


def _splits(dataset: ReidDataset) -> tuple[tuple[str, LabelledIndex], ...]:
    return ("train", dataset.train), ("test", dataset.test)


def _count_rows(split: str, index: LabelledIndex) -> list[CountRow]:
    rows: list[CountRow] = []
    for modality in Modality:
        of_modality = index.samples.modality == modality
        rows.append(_count_row(split, modality, None, index, of_modality))
        for camera in np.unique(index.samples.camera[of_modality]).tolist():
            chosen = of_modality & (index.samples.camera == camera)
            rows.append(_count_row(split, modality, camera, index, chosen))
    return rows


def _count_row(
    split: str, modality: Modality, camera: int | None, index: LabelledIndex, chosen: np.ndarray
) -> CountRow:
    num_identities = len(np.unique(index.identity[chosen]))
    return CountRow(
        split=split,
        modality=modality,
        camera=camera,
        num_identities=num_identities,
        num_images=int(chosen.sum()),
    )


def _counts(dataset: ReidDataset) -> Counts:
    return {
        split: {
            "identities": len(np.unique(index.identity)),
            **{modality.name.lower(): int((index.samples.modality == modality).sum()) for modality in Modality},
        }
        for split, index in _splits(dataset)
    }


def _count_problems(dataset: ReidDataset, known: Layout) -> list[str]:
    marker = Path(dataset.root) / SYNTHETIC_MARKER
    if not marker.is_file():
        return compare(_counts(dataset), known.known_counts, mistakes=known.known_mistakes)
    problems = compare(_counts(dataset), _synthetic_counts(marker))
    if problems:
        problems.append("the synthetic set was changed after it was drawn; draw it again with `ecul synth`")
    return problems


def _synthetic_counts(marker: Path) -> Counts:
    try:
        counts = json.loads(marker.read_text(encoding="utf-8"))["counts"]
        return {
            split: {name: int(counts[split][name]) for name in ("identities", "visible", "infrared")}
            for split in ("train", "test")
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{marker} is damaged ({error!r}); draw the set again with `ecul synth`") from None


def _trial_problems(dataset: ReidDataset, known: Layout, missing: set[str]) -> list[str]:
    """Trials that cannot be read, differ in size from trial 1, or list an image for training and for testing."""
    problems: list[str] = []
    for trial in range(1, known.num_trials + 1) if known.num_trials > 1 else ():
        try:
            other = open_dataset(dataset.root, layout=known.name, trial=trial, check_files=False)
        except DataError as error:
            problems.append(f"trial {trial}: {error}")
            continue
        absent = [path for path in missing_files(other) if path not in missing]
        problems += _list_of(absent, len(other.train) + len(other.test), "do not exist", f"trial {trial}: ")
        shared = set(other.train.samples.paths) & set(other.test.samples.paths)
        if shared:
            problems.append(
                f"trial {trial}: {len(shared)} images are in the training and in the test list (such as "
                f"{min(shared)}); restore the original split files"
            )
        differing = compare(_counts(other), _counts(dataset))
        problems += [f"trial {trial} differs from trial 1: {problem}" for problem in differing]
    return problems


def _image_problems(
    split: str, index: LabelledIndex, num_opened: int, missing: set[str], progress: Progress
) -> tuple[int, list[str]]:
    """How many images were decoded, and what is wrong with them; those known to be missing are not tried."""
    count = len(index) if num_opened == 0 else min(num_opened, len(index))
    positions = np.linspace(0, len(index) - 1, count).round().astype(int).tolist()
    positions = [position for position in positions if index.samples.paths[position] not in missing]
    count = len(positions)
    unreadable: list[str] = []
    constant: list[str] = []
    colourless: list[bool] = []
    for position in positions:
        path = index.samples.paths[position]
        progress.advance()
        try:
            pixels = read_image(path)
        except DataError:
            unreadable.append(path)
            continue
        if is_constant(pixels):
            constant.append(path)
        if index.samples.modality[position] == Modality.VISIBLE:
            colourless.append(not has_colour(pixels))
    problems = [
        *_list_of(unreadable, count, "cannot be read", f"{split}: "),
        *_list_of(constant, count, "show one value in all pixels", f"{split}: "),
    ]
    if colourless and np.mean(colourless) > _GREY_SHARE:
        problems.append(f"{split}: the visible images have no colour; they were converted, or are infrared images")
    return count, problems
