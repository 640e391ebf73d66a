"""`python -m cluster.train`: train over a Ray cluster, or over a Ray started here."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cluster.config import ClusterConfig, load_cluster_config, local_defaults, parse_cluster_config
from cluster.environment import connect, prepare
from cluster.names import checked_name
from cluster.paths import with_absolute_paths
from cluster.storage import SETTINGS_FILE, RunFolder, read_settings
from cluster.tracking.interface import TRACKERS
from ecul.config import Config
from ecul.console import Parser, run_command
from ecul.errors import ConfigError
from ecul.schema import parse_assignments
from ecul.settings import config_tree, load_config, oracle_warning, resumed_config


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m cluster.train",
        description="Train, evaluate and draw over a Ray cluster.",
        epilog="All settings, their ranges and what they trade: docs/configuration.md",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML configuration of the training, as for ecul train")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="replace a setting of it")
    parser.add_argument("--cluster", metavar="FILE", help="YAML of the cluster, such as configs/cluster/one-node.yaml")
    parser.add_argument("--cluster-set", action="append", default=[], metavar="PATH=VALUE", help="replace one of it")
    parser.add_argument("--workers", type=_workers, metavar="N|MIN:MAX", help="training processes; a range is elastic")
    parser.add_argument("--gpus-per-worker", type=float, metavar="N", help="default 1")
    parser.add_argument("--cpu", action="store_true", help="train without GPUs")
    parser.add_argument("--address", default="auto", help="Ray cluster: auto, HOST:PORT, or local to start one here")
    parser.add_argument("--storage", default="runs", metavar="PATH", help="folder or URI that all nodes share")
    parser.add_argument(
        "--name", metavar="NAME", help="of the run; its folder is STORAGE/NAME (default: date and time)"
    )
    parser.add_argument("--resume", metavar="NAME", help="continue the stopped run of this name")
    parser.add_argument("--tracker", default="none", choices=TRACKERS, help="experiment tracker (default: none)")
    parser.add_argument("--profile", action="store_true", help="leave a torch profiler trace of some steps in the run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and returns the exit code: 0 good, 2 bad input or failed training, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("cluster.train", lambda: _train(args))


def _train(args: argparse.Namespace) -> int:
    name, config, cluster = _resumed(args) if args.resume else _fresh(args)
    local = args.address == "local"
    cluster = local_defaults(cluster) if local else _reserving(cluster)
    prepare(
        local=local,
        health_check_interval_s=cluster.health_check_interval_s,
        start_timeout_s=cluster.start_timeout_s,
        train_tab=cluster.train_tab,
    )
    connect(args.address)
    from cluster.trainer import build_trainer, run
    from ecul.engine.run_directory import summary_table

    folder = RunFolder(args.storage, name)
    trainer = build_trainer(config, cluster, name=name, storage=args.storage, tracker=args.tracker)
    if args.resume and folder.drop_broken_snapshot():
        sys.stderr.write(f"{folder.uri}: Ray's list of checkpoints was broken; the newest readable one is used\n")
    folder.write(SETTINGS_FILE, _settings(config, cluster))
    result = run(trainer)
    sys.stdout.write(summary_table(result.retrieval) + "\n")
    if (warning := oracle_warning(config)) is not None:
        sys.stdout.write(warning + "\n")
    return 0


def _fresh(args: argparse.Namespace) -> tuple[str, Config, ClusterConfig]:
    if not args.config:
        raise ConfigError("give --config FILE for a new run or --resume NAME to continue one; shipped ones: configs/")
    name = checked_name(args.name or f"{datetime.now():%Y%m%d-%H%M%S}")
    if RunFolder(args.storage, name).exists(SETTINGS_FILE):
        raise ConfigError(f"{args.storage}/{name} already holds a run; use --resume {name} or another --name")
    config = with_absolute_paths(load_config(args.config, _overrides(args)))
    return name, config, load_cluster_config(args.cluster, _cluster_values(args))


def _resumed(args: argparse.Namespace) -> tuple[str, Config, ClusterConfig]:
    if args.config or args.name:
        raise ConfigError("--resume takes its configuration and name from the run; leave out --config and --name")
    settings = read_settings(RunFolder(args.storage, args.resume))
    config = resumed_config(settings["config"], parse_assignments(_overrides(args)))
    if args.cluster:
        return args.resume, config, load_cluster_config(args.cluster, _cluster_values(args))
    return args.resume, config, parse_cluster_config(settings["cluster"]).updated(_cluster_values(args))


def _overrides(args: argparse.Namespace) -> list[str]:
    return [*args.set, *(["runtime.profile=true"] if args.profile else [])]


def _cluster_values(args: argparse.Namespace) -> dict[str, Any]:
    values = parse_assignments(args.cluster_set)
    if args.workers is not None:
        values["num_workers"] = args.workers
    if args.gpus_per_worker is not None:
        values["gpus_per_worker"] = args.gpus_per_worker
    if args.cpu:
        values["cpu"] = True
    return values


def _reserving(cluster: ClusterConfig) -> ClusterConfig:
    return cluster if cluster.clustering.borrow is not None else cluster.updated({"clustering.borrow": False})


def _settings(config: Config, cluster: ClusterConfig) -> bytes:
    tree = {"config": config_tree(config), "cluster": cluster.model_dump(mode="json")}
    return (json.dumps(tree, indent=2) + "\n").encode()


def _workers(text: str) -> int | list[int]:
    """Parses `4` or `2:8`."""
    try:
        numbers = [int(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor MIN:MAX")
    return numbers[0] if len(numbers) == 1 else numbers


if __name__ == "__main__":
    sys.exit(main())
