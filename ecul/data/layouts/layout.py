"""What a layout's module says about its dataset: how it is recognised, read, checked and evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecul.data.layouts.counts import Counts, KnownMistake
from ecul.data.layouts.listing import SplitRows
from ecul.names import LayoutName
from ecul.types import LabelledIndex, RetrievalProtocol

FindProblems = Callable[[Path, LabelledIndex, LabelledIndex, bool], list[str]]


@dataclass(frozen=True)
class Layout:
    """A dataset's folder layout.

    Attributes:
        name: as settings and commands call it.
        split_files: paths, relative to the dataset, whose presence tells the layout (with trials: the first one's).
        read: returns the images by split, of (dataset folder, trial); raises DataError.
        known_counts: size of the real dataset.
        protocols: how retrieval is measured on it; the one that papers quote first in front.
        known_mistakes: wrong preparations that have been seen before.
        num_trials: splits that the dataset comes with; `read` takes trials 1 to this.
        find_problems: further checks of `ecul doctor`, of (dataset folder, training images, test images, whether it
            is the real dataset and not a synthetic one). Each problem is one sentence that says what to do.
    """

    name: LayoutName
    split_files: tuple[str, ...]
    read: Callable[[Path, int], SplitRows]
    known_counts: Counts
    protocols: tuple[RetrievalProtocol, ...]
    known_mistakes: tuple[KnownMistake, ...] = ()
    num_trials: int = 1
    find_problems: FindProblems | None = None
