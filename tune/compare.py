"""`python -m tune.compare`: whether a sweep's best points beat its base with other seeds."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.environment import connect, prepare
from cluster.gpus import hide_all_gpus
from ecul.console import EXIT_INTERRUPTED, Parser, run_command
from ecul.files import locked
from ecul.schema import check
from tune.config import ConfirmConfig
from tune.folder import STORAGE, read_sweep, sweep_folder
from tune.options import add_ray_options, storage_option

if TYPE_CHECKING:
    from tune.confirm import ConfirmationSetting

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m tune.compare",
        description="Train the base configuration and a sweep's best points with fresh seeds, compare them in pairs, "
        "and write the sweep's report and best.yaml again. Runs that are complete already are not repeated.",
    )
    parser.add_argument("name", metavar="NAME", help="of the sweep")
    parser.add_argument("--top", type=int, metavar="N", help="points to train (default: the sweep's, else 3)")
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each (default: the sweep's, else 3)")
    parser.add_argument("--cluster", metavar="FILE", help="YAML of the cluster (default: the sweep's full.cluster)")
    parser.add_argument("--cpu", action="store_true", help="train without GPUs")
    add_ray_options(parser, storage=STORAGE, of="sweeps")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, prints the report and returns the exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("tune.compare", lambda: _compare(args))


def _compare(args: argparse.Namespace) -> int:
    prepare(local=args.address == "local")  # before any import of Ray
    from tune.confirm import confirm
    from tune.report.write import write_report

    folder = sweep_folder(args.storage, args.name)
    setting = _setting(args, folder)
    with locked(folder, what="sweep"):
        connect(args.address, log_to_driver=args.verbose)
        hide_all_gpus()  # the driver reserves none
        try:
            left = confirm(setting)
        except KeyboardInterrupt:
            left = 1
        text = write_report(folder).text
    sys.stdout.write(text)
    if left:
        log.info("train what is missing with: python -m tune.compare %s%s", folder.name, storage_option(args, STORAGE))
    return EXIT_INTERRUPTED if left else 0


def _setting(args: argparse.Namespace, folder: Path) -> "ConfirmationSetting":
    from cluster.config import load_cluster_config
    from tune.concurrency import borrowing_decided
    from tune.confirm import ConfirmationSetting
    from tune.space.build import build_space
    from tune.trials.held_out import check_warm_start
    from tune.trials.settings import base_config, original_config

    sweep = read_sweep(folder)
    own = {} if sweep.confirm is None else sweep.confirm.model_dump()
    given = {name: value for name, value in (("top", args.top), ("seeds", args.seeds)) if value is not None}
    original = original_config(sweep)
    if original.warm_start is not None:
        check_warm_start(original.warm_start)
    base, local = base_config(original, warm_start=sweep.full.warm_start), args.address == "local"
    cluster = load_cluster_config(args.cluster or sweep.full.cluster, {"cpu": True} if args.cpu else {})
    return ConfirmationSetting(
        folder=folder,
        sweep=sweep,
        options=check(ConfirmConfig, {**own, **given}, what="confirmation"),
        space=build_space(sweep, base),
        original=original,
        base=base,
        cluster=borrowing_decided(cluster, local=local),
        local=local,
        limit=args.concurrency,
    )


if __name__ == "__main__":
    sys.exit(main())
