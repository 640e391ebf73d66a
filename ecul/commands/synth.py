"""`ecul synth`: writes a synthetic dataset in the folders of a real one."""

import argparse
import time
from typing import get_args

from ecul.errors import DataError
from ecul.names import Benchmark, LayoutName


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command's options."""
    parser = subparsers.add_parser(
        "synth",
        help="draw a synthetic dataset of people",
        description="Draws people seen by visible and infrared cameras, with the folders and split files of a real "
        "dataset. The same options give the same bytes.",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make; must be empty or absent")
    parser.add_argument("--layout", choices=get_args(LayoutName), default="sysu", help="default: sysu")
    parser.add_argument(
        "--benchmark",
        choices=get_args(Benchmark),
        help="a named set: its people, images and difficulty, as uneven as SYSU-MM01 (docs/benchmark.md)",
    )
    parser.add_argument("--identities", type=int, metavar="N", help="people to train on (validation included)")
    parser.add_argument("--test-identities", type=int, metavar="M", help="people to test on; default: half of N")
    parser.add_argument(
        "--images-per-camera",
        type=int,
        metavar="K",
        help="mean number of images of a person under a camera that sees it; default: 6 sysu, 10 regdb, 3 llcm",
    )
    parser.add_argument(
        "--unpaired",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of the training people who are seen in one modality only, sysu; default: 0",
    )
    parser.add_argument("--size", default="64x32", metavar="HxW", help="height x width in pixels; default: 64x32")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument(
        "--counts",
        metavar="NPZ",
        help="file with the number of images of each identity under each camera of SYSU-MM01 (counts, train_id, "
        "test_id), instead of --identities",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draws the dataset and prints what was written."""
    from ecul.data.synthetic import synthesize

    height, width = parse_size(args.size)
    start = time.perf_counter()
    count = synthesize(
        args.out,
        layout=args.layout,
        num_identities=args.identities,
        num_test_identities=args.test_identities,
        images_per_camera=args.images_per_camera,
        height=height,
        width=width,
        seed=args.seed,
        counts=args.counts,
        benchmark=args.benchmark,
        unpaired_share=args.unpaired,
    )
    seconds = time.perf_counter() - start
    print(f"{args.out}: {count} images in {seconds:.1f} s ({count / seconds:.0f} images/s)")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Returns (height, width) of a text such as `64x32`.

    Raises:
        DataError: it is something else.
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise DataError(f"--size {text!r}: expected HEIGHTxWIDTH in pixels, such as 64x32")
    return int(height), int(width)
