"""`ecul bench train`: images/s of the training loop and where the time goes."""

import argparse
import json
import sys
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul bench train`."""
    parser = subparsers.add_parser(
        "train",
        help="images/s of training and extraction beside the bare network's, and shares of a step's parts",
        epilog="All settings: docs/configuration.md",
    )
    parser.add_argument("--config", required=True, metavar="FILE")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--steps", type=int, default=20, help="timed steps, after 3 untimed ones")
    parser.add_argument("--json", metavar="FILE", help="also write the measurements as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the measurements and returns 0."""
    from ecul.bench.training import time_training
    from ecul.errors import ConfigError
    from ecul.files import output_file, write_atomically
    from ecul.settings import load_config

    if args.steps < 1:
        raise ConfigError(f"--steps is {args.steps}, expected at least 1")
    if args.json:
        output_file(args.json, option="--json")
    measured = time_training(load_config(args.config, args.set), steps=args.steps)
    seconds = sum(value for name, value in measured.items() if name.startswith("seconds/"))
    sys.stdout.write(f"{args.steps} steps, {measured['images']:.0f} images\n")
    for name, key in (("training", "images_per_second"), ("extraction", "extraction_images_per_second")):
        speed, bare = measured[key], measured[f"bare_{key}"]
        sys.stdout.write(
            f"{name:10} {speed:8.0f} images/s; the bare network {bare:.0f} images/s: {bare / speed:.2f} x its time\n"
        )
    sys.stdout.write("parts of training, profiled:\n")
    for name, value in measured.items():
        if name.startswith("seconds/"):
            sys.stdout.write(f"  {name.removeprefix('seconds/'):10} {value:8.3f} s  {100 * value / seconds:5.1f} %\n")
    if args.json:
        write_atomically(Path(args.json), json.dumps(measured, indent=2) + "\n")
    return 0
