"""What the package's commands share: one-line errors and exit codes."""

import argparse
import logging
import sys
from collections.abc import Callable

from ecul.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from ecul.errors import EculError


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str):
        """Prints one line and ends with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def run_command(name: str, work: Callable[[], int]) -> int:
    """Returns the exit code of a command: its own, 2 after an error that a user can mend, 130 after Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return work()
    except EculError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return EXIT_INTERRUPTED
