"""`ecul doctor`: says whether a dataset is complete and readable, and what to do if not."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from ecul.names import LayoutName

if TYPE_CHECKING:
    from ecul.data.doctor import CountRow

_EXIT_WRONG = 2


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command's options."""
    parser = subparsers.add_parser(
        "doctor",
        help="check a dataset",
        description="Recognises a dataset, counts it, compares it with the known counts and opens some of its "
        "images. Ends with exit code 0 when all is well, 2 when something is wrong.",
    )
    parser.add_argument("dataset", metavar="DATASET_DIR", help="folder that holds the dataset's split files")
    parser.add_argument("--layout", choices=("auto", *get_args(LayoutName)), default="auto", help="default: auto")
    parser.add_argument(
        "--open", type=int, default=200, metavar="N", help="images of each split to open; 0 for all; default: 200"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints what was found; returns 0 when all is well, else 2."""
    from ecul.data.doctor import inspect_dataset

    found = inspect_dataset(args.dataset, layout=args.layout, num_opened=max(args.open, 0))
    print(f"{args.dataset}: {found.name}, digest {found.digest or 'none, as images are missing'}")
    print(_table(found.rows))
    print(f"opened {found.num_opened} images")
    for problem in found.problems:
        print(f"WRONG  {problem}")
    if found.problems:
        return _EXIT_WRONG
    print("fine: everything is as expected")
    return 0


def _table(rows: "Sequence[CountRow]") -> str:
    lines = [f"{'split':<8}{'modality':<10}{'camera':>7}{'identities':>12}{'images':>9}"]
    lines += [
        f"{row.split:<8}{row.modality.name.lower():<10}{'all' if row.camera is None else row.camera:>7}"
        f"{row.num_identities:>12,}{row.num_images:>9,}"
        for row in rows
    ]
    return "\n".join(lines)
