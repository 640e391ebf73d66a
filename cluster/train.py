"""`python -m cluster.train`: train over a Ray cluster, or over a Ray started here."""

import argparse
import logging
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cluster.claim import claimed
from cluster.config import ClusterConfig, load_cluster_config, local_defaults
from cluster.environment import connect, prepare
from cluster.names import checked_name
from cluster.paths import check_storage_stays, with_absolute_paths
from cluster.run_settings import RunSettings, continued_config
from cluster.storage import SETTINGS_FILE, RunFolder
from cluster.tracking.interface import TRACKERS, TrackerSettings
from cluster.tracking.registry import tracker_settings
from ecul.config import Config
from ecul.console import Parser, run_command
from ecul.engine.data_folder import check_data_folder
from ecul.engine.run_files import CHECKPOINTS
from ecul.errors import CheckpointError, ConfigError, TrainingError
from ecul.schema import parse_assignments
from ecul.settings import load_config, oracle_warning

log = logging.getLogger(__name__)


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
    parser.add_argument(
        "--resume-or-start", action="store_true", help="continue the run of --name if it is there, else start it"
    )
    parser.add_argument("--tracker", choices=TRACKERS, help="experiment tracker (default: none, or the resumed run's)")
    parser.add_argument("--profile", action="store_true", help="leave a torch profiler trace of some steps in the run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and returns the exit code: 0 good, 2 bad input or failed training, 130 after Ctrl-C or SIGTERM."""
    args = build_parser().parse_args(argv)
    return run_command("cluster.train", lambda: _train(args))


def _train(args: argparse.Namespace) -> int:
    name = _name(args)
    check_storage_stays(args.storage)
    folder = RunFolder(args.storage, name)
    if args.resume and not folder.exists(SETTINGS_FILE):
        raise CheckpointError(f"{folder.uri} holds no run to resume ({SETTINGS_FILE} is missing); check --storage")
    with claimed(folder) as claim:
        try:
            return _train_claimed(args, folder)
        except KeyboardInterrupt:
            if claim.lost:
                raise TrainingError(claim.lost) from None
            log.info("%s", _how_to_go_on(args, folder))
            raise


def _train_claimed(args: argparse.Namespace, folder: RunFolder) -> int:
    folder.remove_partials()
    exists = folder.exists(SETTINGS_FILE)
    if exists and not (args.resume or args.resume_or_start):
        raise ConfigError(f"{folder.uri} already holds a run; use --resume {folder.name} or another --name")
    settings = _resumed(args, folder) if exists else _fresh(args)
    local = args.address == "local"
    if local:  # other machines may see other folders
        check_data_folder(settings.config)
    cluster = local_defaults(settings.cluster) if local else _reserving(settings.cluster)
    prepare(local=local, cluster=cluster)
    connect(args.address)
    from cluster.trainer import build_trainer, run
    from ecul.engine.run_directory import summary_table

    trainer = build_trainer(settings.config, cluster, name=folder.name, storage=args.storage, tracker=settings.tracker)
    if exists and folder.drop_broken_snapshot():
        sys.stderr.write(f"{folder.uri}: Ray's list of checkpoints was broken; the newest readable one is used\n")
    replace(settings, cluster=cluster).write(folder)
    result = run(trainer)
    sys.stdout.write(summary_table(result.retrieval) + "\n")
    if (warning := oracle_warning(settings.config)) is not None:
        sys.stdout.write(warning + "\n")
    return 0


def _name(args: argparse.Namespace) -> str:
    """The run's name.

    Raises:
        ConfigError: options that do not go together.
    """
    if args.resume:
        if args.config or args.name or args.resume_or_start:
            raise ConfigError(
                "--resume takes configuration and name from the run; leave out --config, --name and --resume-or-start"
            )
        return checked_name(args.resume, option="--resume")
    if not args.config:
        raise ConfigError("give --config FILE for a new run or --resume NAME to continue one; shipped ones: configs/")
    if args.resume_or_start and not args.name:
        raise ConfigError("--resume-or-start needs --name NAME: the run to continue if it is there")
    return checked_name(args.name or f"{datetime.now():%Y%m%d-%H%M%S}")


def _fresh(args: argparse.Namespace) -> RunSettings:
    return RunSettings(
        config=_given_config(args),
        cluster=load_cluster_config(args.cluster, _cluster_values(args)),
        tracker=tracker_settings(args.tracker, TrackerSettings(uid=secrets.token_hex(4))),
    )


def _resumed(args: argparse.Namespace, folder: RunFolder) -> RunSettings:
    kept = RunSettings.read(folder, parse_assignments(_overrides(args)) if args.resume else {})
    config = kept.config if args.resume else continued_config(kept.config, _given_config(args))
    values = _cluster_values(args)
    cluster = load_cluster_config(args.cluster, values) if args.cluster else kept.cluster.updated(values)
    return RunSettings(config, cluster, tracker_settings(args.tracker, kept.tracker))


def _given_config(args: argparse.Namespace) -> Config:
    return with_absolute_paths(load_config(args.config, _overrides(args)))


def _how_to_go_on(args: argparse.Namespace, folder: RunFolder) -> str:
    if not folder.exists(SETTINGS_FILE):
        return "stopped before the training began: start the command again"
    names = folder.checkpoint_names()
    last = f"the last checkpoint is {folder.uri}/{CHECKPOINTS}/{names[-1]}" if names else "there is no checkpoint yet"
    command = ["python", "-m", "cluster.train", "--resume", folder.name]
    options = {"--storage": (args.storage, "runs"), "--address": (args.address, "auto")}
    command += [part for name, (value, default) in options.items() if value != default for part in (name, value)]
    return f"stopped; {last}; go on with: {shlex.join(command)}"


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
