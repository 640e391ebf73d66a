"""The `ecul` command: finds the sub-command, runs it, turns an `EculError` into one line and exit code 2."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from ecul import __version__
from ecul.errors import EculError

COMMANDS = ("train", "evaluate", "cluster", "rank", "synth", "doctor", "pretrain", "export", "embed", "bench")
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str):
        """Prints one line and ends with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all sub-commands; each module of `ecul.commands` adds its own."""
    parser = _Parser(prog="ecul", description="Unsupervised visible-infrared person re-identification.")
    parser.add_argument("--version", action="version", version=f"ecul {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"ecul.commands.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command and returns its exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return args.run(args)
    except EculError as error:
        sys.stderr.write(f"ecul {args.command}: {error}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"ecul {args.command}: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
