"""`python -m tune.run`: searches hyperparameters over a Ray cluster, or over a Ray started here."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from cluster.environment import connect, prepare
from cluster.gpus import hide_all_gpus
from cluster.tracking.interface import TRACKERS
from ecul.console import EXIT_INTERRUPTED, Parser, run_command
from ecul.engine.data_folder import check_data_folder
from ecul.errors import ConfigError, TrainingError
from ecul.files import locked
from ecul.schema import parse_assignments
from tune.config import Fidelity, SweepConfig, load_sweep
from tune.folder import STORAGE, SWEEP_FILE, read_sweep, sweep_folder
from tune.options import add_ray_options, positive, storage_option

if TYPE_CHECKING:
    from tune.plan import Plan
    from tune.study.record import TrialRow

log = logging.getLogger(__name__)
_FIXED_ON_RESUME = ("config", "name", "fidelity", "bank", "warm_start", "tracker", "set")


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m tune.run",
        description="Search hyperparameters.",
        epilog="All settings, their ranges and what they trade: docs/configuration.md",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML of the sweep, such as configs/tune/emcc.yaml")
    parser.add_argument("--name", metavar="NAME", help="of the sweep (default: the file's name and --fidelity)")
    parser.add_argument("--resume", metavar="NAME", help="continue a stopped sweep, or add trials to a finished one")
    parser.add_argument("--retry-failed", action="store_true", help="with --resume: run the failed trials again")
    parser.add_argument("--fidelity", choices=get_args(Fidelity), help="default: the file's")
    parser.add_argument("--trials", type=int, metavar="N", help="how many the sweep has when it is done")
    parser.add_argument("--max-hours", type=positive, metavar="H", help="stop after so long; continue with --resume")
    parser.add_argument("--bank", metavar="FILE", help="feature bank of python -m tune.features")
    parser.add_argument("--warm-start", metavar="RUN", help="stage-1 run that full trials begin from")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="replace a key of the sweep's file"
    )
    add_ray_options(parser, storage=STORAGE, of="sweeps", what="trials")
    parser.add_argument("--tracker", metavar="KIND", help=f"one of {', '.join(TRACKERS)}; default: the file's")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sweep and returns the exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("tune.run", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    local = args.address == "local"
    prepare(local=local)  # before any import of Ray
    from tune.confirm import confirm_plan
    from tune.plan import make_plan, write_plan
    from tune.study.store import own_trials
    from tune.sweep import prepare_study, run_sweep
    from tune.tracking import SweepTracker

    folder = _folder(args)
    plan = make_plan(
        _sweep(args, folder), folder, local=local, max_hours=args.max_hours, max_concurrency=args.concurrency
    )
    if local and plan.cluster is not None:  # it trains; other machines may see other folders
        check_data_folder(plan.original, option="--set 'set={data.root: FOLDER}'")
    with locked(folder, what="sweep"):
        study = prepare_study(plan, retry_failed=args.retry_failed)
        write_plan(plan)
        connect(args.address, log_to_driver=args.verbose)
        hide_all_gpus()  # the driver reserves none; a Ray that was started here knows of them already
        _announce(plan, len(own_trials(study)))
        tracker = SweepTracker(plan)
        try:
            done = run_sweep(plan, study, tracker.trial_closed)
            left = confirm_plan(plan) if done >= plan.num_trials else 0
            from tune.report.write import write_report  # seconds of imports that no trial need wait for

            report = write_report(folder)
            tracker.summarise(report)
        finally:
            tracker.close()
    sys.stdout.write(report.text)
    _check_some_good(args, plan, report.findings.rows)
    return _conclude(args, plan, done, left)


def _folder(args: argparse.Namespace) -> Path:
    """The sweep's folder.

    Raises:
        ConfigError: no sweep is given, or the name cannot be a folder.
    """
    if args.resume:
        given = [f"--{name.replace('_', '-')}" for name in _FIXED_ON_RESUME if getattr(args, name)]
        if given:
            raise ConfigError(f"a resumed sweep keeps what it was started with; leave out {', '.join(given)}")
        return sweep_folder(args.storage, args.resume, option="--resume")
    if args.retry_failed:
        raise ConfigError("--retry-failed needs --resume NAME: a new sweep has no failed trials")
    if not args.config:
        raise ConfigError("give --config FILE for a new sweep, or --resume NAME; shipped ones: configs/tune/")
    name = args.name or "-".join(part for part in (Path(args.config).stem, args.fidelity) if part)
    return sweep_folder(args.storage, name, option="--name")


def _sweep(args: argparse.Namespace, folder: Path) -> SweepConfig:
    options = {
        "fidelity": args.fidelity,
        "trials": args.trials,
        "features.bank": args.bank,
        "full.warm_start": args.warm_start,
        "tracker": args.tracker,
    }
    changes = parse_assignments(args.set) | {path: value for path, value in options.items() if value is not None}
    exists = (folder / SWEEP_FILE).is_file()
    if args.resume:
        if not exists:
            raise ConfigError(f"no sweep {folder} to resume ({SWEEP_FILE} is missing); check --storage")
        return read_sweep(folder, changes)
    if exists:
        raise ConfigError(
            f"{folder} already holds a sweep; continue it with --resume {folder.name}, or choose another --name"
        )
    return load_sweep(args.config, changes)


def _announce(plan: "Plan", trials_before: int) -> None:
    from tune.plan import estimate_text
    from tune.sweep import trials_at_once
    from tune.trials.training import trainings_at_once

    concurrency = trials_at_once(plan)
    left_out = [path for path in plan.sweep.space if path not in plan.space.paths]
    log.info("sweep %s (%s): %s", plan.folder, plan.sweep.fidelity, ", ".join(plan.space.paths))
    if left_out:
        log.info("not searched at this fidelity, which trains nothing: %s", ", ".join(left_out))
    log.info("%d trials, %d at once, %d of them done already", plan.num_trials, concurrency, trials_before)
    log.info("%s", estimate_text(plan, concurrency))
    if (confirm := plan.sweep.confirm) is not None and plan.cluster is not None:
        most = trainings_at_once(plan.cluster, limit=plan.max_concurrency)  # an error now, not after the search
        count = (confirm.top + 1) * confirm.seeds
        log.info("then at most %d trainings, %d at once, confirm what it finds", count, min(most, count))


def _check_some_good(args: argparse.Namespace, plan: "Plan", rows: "Sequence[TrialRow]") -> None:
    """Checks that not every trial failed.

    Raises:
        TrainingError: they all did.
    """
    if rows and all(row.error for row in rows):
        raise TrainingError(
            f"all {len(rows)} trials failed, the last with: {rows[-1].error}; mend it, then go on with: "
            f"python -m tune.run --resume {plan.folder.name}{storage_option(args, STORAGE)} --retry-failed"
        )


def _conclude(args: argparse.Namespace, plan: "Plan", done: int, left: int) -> int:
    best = " and best.yaml" if (plan.folder / "report" / "best.yaml").is_file() else ""
    log.info("report, pictures%s in %s", best, plan.folder / "report")
    if done >= plan.num_trials and not left:
        return 0
    command = f"python -m tune.run --resume {plan.folder.name}{storage_option(args, STORAGE)}"
    missing = f"{left} trainings of the confirmation are missing" if left else f"{done} of {plan.num_trials} trials"
    log.info("%s; continue with: %s", missing, command)
    # stopped by its own time limit, or by Ctrl-C
    return 0 if args.max_hours else EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
