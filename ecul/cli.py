"""The `ecul` command: finds the sub-command and runs it."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from ecul import __version__
from ecul.console import Parser, run_command

COMMANDS = (
    "train",
    "evaluate",
    "cluster",
    "rank",
    "synth",
    "doctor",
    "pretrain",
    "export",
    "embed",
    "search",
    "group",
    "report",
    "bench",
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands; each module of `ecul.commands` adds its own."""
    parser = Parser(prog="ecul", description="Unsupervised visible-infrared person re-identification.")
    parser.add_argument("--version", action="version", version=f"ecul {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"ecul.commands.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command(f"ecul {args.command}", lambda: args.run(args))


if __name__ == "__main__":
    sys.exit(main())
