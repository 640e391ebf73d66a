"""`python -m tune.repeat`: trains configurations with several seeds, trials or other values, into one table."""

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.environment import connect, prepare
from cluster.gpus import hide_all_gpus
from cluster.tracking.interface import TRACKERS
from ecul.console import EXIT_BAD_INPUT, EXIT_INTERRUPTED, Parser, run_command
from ecul.errors import ConfigError
from ecul.files import locked
from tune.folder import sweep_folder
from tune.options import add_ray_options, storage_option

if TYPE_CHECKING:
    from cluster.config import ClusterConfig
    from tune.trials.grid import RepeatedRun
    from tune.trials.repetition import RunsOnDisk

log = logging.getLogger(__name__)
STORAGE = "runs/repeat"
"""Folder of all repetitions, where none is given."""
PLAN_FILE, FAILED_FILE = "repeat.json", "failed.json"
_FIXED_ON_RESUME = ("config", "name", "over", "set", "tracker")


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m tune.repeat",
        description="Train every configuration with every combination of values, and tabulate means and spreads. "
        "Several configurations are compared in pairs with the first one.",
    )
    parser.add_argument("--config", nargs="+", metavar="FILE", help="YAML configurations; the first is the base")
    parser.add_argument(
        "--over", action="append", default=[], metavar="PATH=A..B", help="values, such as seed=0..2 or seed=[0, 3]"
    )
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="replace a setting, in all")
    parser.add_argument("--name", metavar="NAME", help="of the repetition (default: the first file's name)")
    parser.add_argument("--resume", metavar="NAME", help="run what is missing or failed; without any, print the table")
    parser.add_argument("--cluster", metavar="FILE", help="YAML of the cluster, such as configs/cluster/laptop.yaml")
    parser.add_argument("--cpu", action="store_true", help="train without GPUs")
    add_ray_options(parser, storage=STORAGE, of="repetitions", what="runs")
    parser.add_argument("--tracker", choices=TRACKERS, default=None, help="experiment tracker (default: none)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and returns the exit code: 0 good, 2 bad input or a failed run, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("tune.repeat", lambda: _repeat(args))


def _repeat(args: argparse.Namespace) -> int:
    prepare(local=args.address == "local")  # before any import of Ray
    from tune.trials.repetition import RunsOnDisk

    folder = _folder(args)
    stored = _stored(folder) if args.resume else {}
    runs = _stored_runs(stored) if args.resume else _new_runs(args)
    cluster, tracker = _cluster(args, stored), stored.get("tracker", args.tracker or "none")
    with locked(folder, what="repetition"):
        if not args.resume:
            _write_plan(folder, runs, cluster, tracker)
        disk = RunsOnDisk(folder / "trials", folder / FAILED_FILE)
        missing = disk.missing(runs)
        log.info("repetition %s: %d runs, %d of them complete", folder, len(runs), len(runs) - len(missing))
        try:
            if missing:
                _train(args, missing, disk, cluster, tracker)
        except KeyboardInterrupt:
            log.info("stopped; the complete runs are in the table")
        failed = disk.failures()
        text, complete = _write_report(folder, runs, failed)
    sys.stdout.write(text)
    log.info("report.md and table.tex in %s", folder / "report")
    if failed or complete < len(runs):
        log.info(
            "run what is missing with: python -m tune.repeat --resume %s%s", folder.name, storage_option(args, STORAGE)
        )
    return EXIT_BAD_INPUT if failed else 0 if complete == len(runs) else EXIT_INTERRUPTED


def _folder(args: argparse.Namespace) -> Path:
    if args.resume:
        given = [f"--{name}" for name in _FIXED_ON_RESUME if getattr(args, name)]
        if given:
            raise ConfigError(f"a resumed repetition keeps what it was started with; leave out {', '.join(given)}")
        return sweep_folder(args.storage, args.resume, option="--resume")
    if not args.config or not args.over:
        raise ConfigError("give --config FILE and --over PATH=A..B (such as seed=0..2), or --resume NAME")
    folder = sweep_folder(args.storage, args.name or Path(args.config[0]).stem, option="--name")
    if (folder / PLAN_FILE).is_file():
        raise ConfigError(f"{folder} already holds a repetition; go on with --resume {folder.name}, or choose a --name")
    return folder


def _new_runs(args: argparse.Namespace) -> "list[RepeatedRun]":
    from tune.trials.grid import make_runs, parse_over

    over: dict[str, Sequence[Any]] = {}
    for path, values in map(parse_over, args.over):
        if path in over:
            raise ConfigError(f"--over {path} is given twice; name all of its values at once")
        over[path] = values
    files = list(dict.fromkeys(Path(file).absolute() for file in args.config))
    return make_runs(files, over, args.set)


def _stored(folder: Path) -> Mapping[str, Any]:
    plan = folder / PLAN_FILE
    if not plan.is_file():
        raise ConfigError(f"no repetition {folder} ({PLAN_FILE} is missing); check the name and --storage")
    return json.loads(plan.read_text())


def _stored_runs(stored: Mapping[str, Any]) -> "list[RepeatedRun]":
    from tune.trials.grid import RepeatedRun

    return [RepeatedRun.of(run) for run in stored["runs"]]


def _cluster(args: argparse.Namespace, stored: Mapping[str, Any]) -> "ClusterConfig":
    """The cluster's configuration: of the options, else the stored one, since a resume may run elsewhere."""
    from cluster.config import load_cluster_config, parse_cluster_config

    changes = {"cpu": True} if args.cpu else {}
    if stored and not args.cluster:
        return parse_cluster_config(stored["cluster"]).updated(changes)
    return load_cluster_config(args.cluster, changes)


def _write_plan(folder: Path, runs: "Sequence[RepeatedRun]", cluster: "ClusterConfig", tracker: str) -> None:
    from ecul.files import write_atomically

    tree = {"tracker": tracker, "cluster": cluster.model_dump(mode="json"), "runs": [run.tree() for run in runs]}
    write_atomically(folder / PLAN_FILE, json.dumps(tree, indent=1) + "\n")


def _train(
    args: argparse.Namespace, runs: "Sequence[RepeatedRun]", disk: "RunsOnDisk", cluster: "ClusterConfig", tracker: str
) -> None:
    """Trains on the cluster that it joins; failures are written down as they happen."""
    from tune.concurrency import borrowing_decided
    from tune.trials.repeated import train_missing

    local = args.address == "local"
    connect(args.address, log_to_driver=args.verbose)
    hide_all_gpus()  # the driver reserves none
    cluster = borrowing_decided(cluster, local=local)
    train_missing(runs, disk, cluster=cluster, tracker=tracker, local=local, limit=args.concurrency)


def _write_report(folder: Path, runs: "Sequence[RepeatedRun]", failed: Mapping[str, str]) -> tuple[str, int]:
    """Writes report.md, report.html, table.tex; returns the text and the number of complete runs."""
    from ecul.engine.run_directory import REPORT_FILE
    from ecul.files import write_atomically
    from ecul.report.finish import made_or_warned
    from ecul.report.stored import write_stored
    from ecul.report.write import write_report as write_page
    from tune.report.repeat_page import stored_report
    from tune.report.repeats import latex_table, read_outcomes, report_text

    outcomes = read_outcomes(runs, folder / "trials")
    title, base = f"Repetition {folder.name}", runs[0].variant
    text = report_text(outcomes, base=base, num_runs=len(runs), failed=failed, title=title)
    write_atomically(folder / "report" / "report.md", text)
    if outcomes:
        counts = {"num_runs": len(runs), "failed": failed}

        def page() -> None:
            write_stored(folder, stored_report(outcomes, folder, base=base, trials="trials", title=title, **counts))
            write_page([folder], folder / "report" / REPORT_FILE)

        made_or_warned(page, REPORT_FILE, warn=log.warning, advice=f"{folder}/report holds the rest")
    write_atomically(folder / "report" / "table.tex", latex_table(outcomes))
    return text, len(outcomes)


if __name__ == "__main__":
    sys.exit(main())
