"""What all commands share: a parser with one-line errors, exit codes, and errors turned into one line."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from ecul.errors import EculError
from ecul.progress import Progress

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line. Its sub-parsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Prints one line and ends with exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns the options; arguments left over after a --set without `=` are explained by it."""
        found, left = self.parse_known_args(args, namespace)
        if left:
            halves = [text for text in getattr(found, "set", None) or () if "=" not in text]
            hint = f"; --set takes PATH=VALUE, got {halves[0]!r} without =" if halves else ""
            self.error(f"unrecognized arguments: {' '.join(left)}{hint}")
        return found


def run_command(name: str, work: Callable[[], int]) -> int:
    """Runs a command and returns its exit code.

    Args:
        name: in front of error messages.
        work: does the work and returns the exit code.

    Returns:
        What `work` returned; 2 after an error that a user can mend or of the file system; 130 after Ctrl-C or SIGTERM;
        0 when the reader of a pipe (such as `| head`) has seen enough.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells which of its builds it tries
    interrupt_on_sigterm()
    try:
        # libraries take seconds to load; only a person at a terminal wants to know
        with Progress(f"{name}: at work", shown=sys.stderr.isatty()):
            code = work()
        sys.stdout.flush()  # short outputs are still buffered here; a closed pipe must show inside this block
        return code
    except EculError as error:
        sys.stderr.write(f"{name}: {error}\n")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; that must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # a full disk, a folder removed meanwhile, a file that may not be read: the machine's state, nothing of ours
        where = f"{error.filename}: " if error.filename is not None else ""
        sys.stderr.write(f"{name}: {where}{error.strerror or error}\n")
        return EXIT_BAD_INPUT


def interrupt_on_sigterm() -> None:
    """Makes SIGTERM, which schedulers and `kill` send, do what Ctrl-C does. Libraries that replace it need this again.

    Python has signals in the main thread only; elsewhere this does nothing.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: Any) -> None:
    """Calls what Ctrl-C would; a process that was started in the background may ignore Ctrl-C itself."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
