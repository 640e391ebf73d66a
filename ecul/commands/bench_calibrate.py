"""`ecul bench calibrate`: whether a benchmark can tell methods apart."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecul.bench.calibration import Row


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul bench calibrate`."""
    parser = subparsers.add_parser(
        "calibrate",
        help="what guessing, pixels, no labels, some and all labels reach on a set of people",
        description="Prints Rank-1 and mAP of chance, raw pixels and untrained networks, and of four trainings: "
        "supervised, inside each modality alone, the method, and the method with true united labels. Trainings that "
        "are complete are not repeated, stopped ones continue.",
    )
    parser.add_argument("--ablations", type=Path, default=Path("configs/ablation"), metavar="FOLDER")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="replace a setting")
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"), metavar="FOLDER", help="of the trainings")
    parser.add_argument("--untrained", action="store_true", help="only the lines that need no training")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints each line as it is known, then the targets, and returns 0."""
    from ecul.bench.calibration import TRAINED, ablation_config, targets, trained_row, untrained_rows

    configs = {row: ablation_config(args.ablations, row, args.set) for row in TRAINED}
    rows = {row.name: row for row in untrained_rows(configs["method"])}
    sys.stdout.write(f"{'':<18}{'Rank-1':>8}{'mAP':>8}{'seconds':>9}\n")
    for row in rows.values():
        _print(row)
    if args.untrained:
        return 0
    for name, config in configs.items():
        rows[name] = trained_row(name, config, args.out)
        _print(rows[name])
    for target in targets(rows):
        sys.stdout.write(f"{'holds' if target.holds else 'missed':<8}{target.value:6.3f}  {target.text}\n")
    return 0


def _print(row: "Row") -> None:
    seconds = f"{row.seconds:9.0f}" if row.seconds else ""
    sys.stdout.write(f"{row.name:<18}{row.rank1:8.3f}{row.mean_average_precision:8.3f}{seconds}\n")
    sys.stdout.flush()
