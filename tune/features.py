"""`python -m tune.features`: saves the features of a run, or of starting weights, for sweeps that train nothing."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ecul.console import Parser, run_command
from ecul.errors import ConfigError

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m tune.features", description="Save a feature bank for `python -m tune.run --fidelity features`."
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="run directory or checkpoint, ideally after stage 1")
    parser.add_argument("--config", metavar="FILE", help="instead of RUN: the starting weights of a configuration")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="replace a setting")
    parser.add_argument(
        "--source", metavar="FOLDER", help="another, labelled data set whose people go through the same network"
    )
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="the bank to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the bank and returns the exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("tune.features", lambda: _write(args))


def _write(args: argparse.Namespace) -> int:
    from ecul.engine.checkpoints import open_run
    from ecul.schema import parse_assignments
    from ecul.settings import load_config, updated
    from tune.trials.bank import embed_run, save_bank
    from tune.trials.held_out import trained_without_validation_people

    if bool(args.run) == bool(args.config):
        raise ConfigError("give a RUN (directory or checkpoint), or --config FILE for its starting weights")
    if args.run:
        config, checkpoint = open_run(args.run)
        config = updated(config, parse_assignments(args.set))
        held_out = trained_without_validation_people(args.run)
    else:
        checkpoint, held_out = None, True
        config = load_config(args.config, [*args.set, "data.hold_out_validation=true"])
    bank = embed_run(config, checkpoint=checkpoint, held_out=held_out, source=args.source)
    save_bank(bank, Path(args.out))
    if bank.validation is None:
        log.warning(
            "the run trained on all people (data.hold_out_validation=false), so no validation objective can use this "
            "bank; label-free ones can"
        )
    else:
        log.info("%d validation images of held-out people", len(bank.validation))
    if bank.source is not None:
        log.info("%d images of labelled people of %s", len(bank.source), args.source)
    log.info("%d training images, features of size %d: %s", *bank.train.features.shape, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
