"""RegDB in its original folders: images listed by `idx/{train,test}_{visible,thermal}_{1..10}.txt`."""

from pathlib import Path

from ecul.data.layouts.layout import Layout
from ecul.data.layouts.listing import ImageRow, SplitRows, read_labelled_list
from ecul.errors import DataError
from ecul.types import Modality, RetrievalProtocol

NUM_TRIALS = 10
CAMERA = 1
_MODALITY_NAMES = {Modality.VISIBLE: "visible", Modality.INFRARED: "thermal"}


def split_file(split: str, modality: Modality, trial: int) -> str:
    """Returns the name, relative to the dataset, of the file that lists a split (`train` or `test`) of a trial."""
    return f"idx/{split}_{_MODALITY_NAMES[modality]}_{trial}.txt"


def read_regdb(root: Path, trial: int) -> SplitRows:
    """Returns the images of one RegDB trial by split.

    Every image has camera number 1, whatever its modality. Identities are the labels of the split files: they
    start from 0 in both splits, where the same number means two different people.

    Args:
        root: the dataset's folder.
        trial: 1 to 10; training and testing belong to the same trial, another one would test on training images.

    Raises:
        DataError: the trial does not exist, or a split file or an image is missing.
    """
    if not 1 <= trial <= NUM_TRIALS:
        raise DataError(f"RegDB has the trials 1 to {NUM_TRIALS}, got {trial}")
    train, test = (
        [
            ImageRow(modality=modality, camera=CAMERA, identity=label, path=path)
            for modality in Modality
            for path, label in read_labelled_list(root, split_file(split, modality, trial))
        ]
        for split in ("train", "test")
    )
    return SplitRows(train=train, validation=[], test=test)


LAYOUT = Layout(
    name="regdb",
    split_files=tuple(split_file(split, modality, 1) for split in ("train", "test") for modality in Modality),
    read=read_regdb,
    known_counts={
        "train": {"identities": 206, "visible": 2_060, "infrared": 2_060},
        "test": {"identities": 206, "visible": 2_060, "infrared": 2_060},
    },
    protocols=(
        RetrievalProtocol(name="regdb_visible_to_infrared", rule="regdb", query_modality=Modality.VISIBLE),
        RetrievalProtocol(name="regdb_infrared_to_visible", rule="regdb", query_modality=Modality.INFRARED),
    ),
    num_trials=NUM_TRIALS,
)
