"""`python -m tune.results`: what a sweep found."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ecul.console import Parser, run_command
from tune.folder import STORAGE, sweep_folder

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(prog="python -m tune.results", description="Show what a sweep found.")
    parser.add_argument("name", metavar="NAME", help="of the sweep")
    parser.add_argument("--storage", default=STORAGE, metavar="FOLDER", help="of all sweeps")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="trials in the table")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prints and writes the report and returns the exit code: 0 good, 2 bad input."""
    args = build_parser().parse_args(argv)
    return run_command("tune.results", lambda: _show(sweep_folder(args.storage, args.name), top=args.top))


def _show(folder: Path, *, top: int) -> int:
    from tune.report.write import write_report  # matplotlib and Optuna are slow to import

    sys.stdout.write(write_report(folder, top=top).text)
    log.info("report, pictures and best.yaml in %s", folder / "report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
