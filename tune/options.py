"""Options that several commands have."""

import argparse


def add_ray_options(parser: argparse.ArgumentParser, *, storage: str, of: str, what: str = "trainings") -> None:
    """Adds where a command's trainings run and are kept.

    Args:
        parser: of the command.
        storage: default folder.
        of: what the folder holds, for the help text.
        what: what runs, for the help text.
    """
    parser.add_argument(
        "--concurrency", type=positive_int, metavar="C", help=f"most {what} at once; default: as many as fit"
    )
    parser.add_argument("--address", default="local", help="Ray cluster: local to start one here, auto, or HOST:PORT")
    parser.add_argument("--storage", default=storage, metavar="FOLDER", help=f"of all {of}; all nodes must see it")
    parser.add_argument("--verbose", action="store_true", help=f"show what the {what}' processes print")


def storage_option(args: argparse.Namespace, default: str) -> str:
    """Returns ` --storage FOLDER` for a command line that is shown, and nothing for the default folder."""
    return "" if args.storage == default else f" --storage {args.storage}"


def positive(text: str) -> float:
    """Returns a number above 0; argparse calls it.

    Raises:
        ArgumentTypeError: the text is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def positive_int(text: str) -> int:
    """Returns a whole number above 0; argparse calls it.

    Raises:
        ArgumentTypeError: the text is none.
    """
    number = positive(text)
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(number)
