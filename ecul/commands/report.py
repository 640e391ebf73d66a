"""`ecul report`: one page of runs and sweeps."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul report`."""
    parser = subparsers.add_parser(
        "report",
        help="one HTML page of runs, sweeps and repetitions, which needs no network",
        epilog="What is on the page, and what it is made from: docs/report.md",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN|SWEEP|REPEAT", help="folders; also ones with runs in them"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), metavar="FILE.html", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the page and returns 0.

    Raises:
        DataError: a path that leads to nothing, a damaged file, or a page that cannot be written.
    """
    from ecul.files import output_file
    from ecul.report.write import write_report  # matplotlib is slow to import

    output_file(args.out)
    size = write_report(args.paths, args.out)
    log.info("%s written, %.1f MB", args.out, size / 1e6)
    return 0
