"""`ecul train`: the local single-device run."""

import argparse
import logging
import sys
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ecul.errors import CheckpointError, ConfigError
from ecul.names import Device

if TYPE_CHECKING:
    from ecul.config import Config

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul train`."""
    parser = subparsers.add_parser(
        "train",
        help="train, evaluate and draw, on this machine",
        epilog="All settings, their ranges and what they trade: docs/configuration.md",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML configuration, such as configs/synthetic.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="replace a setting")
    parser.add_argument("--out", metavar="RUN_DIR", help="run directory (default: runs/DATE-TIME)")
    parser.add_argument("--resume", metavar="RUN_DIR", help="go on with a stopped run, with its own configuration")
    parser.add_argument("--use-previous", action="store_true", help="resume from the checkpoint before a broken one")
    parser.add_argument("--device", choices=get_args(Device), help="default: picked by itself")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains and returns 0; 130 after Ctrl-C or SIGTERM."""
    from ecul.files import locked

    config, folder = _resumed(args) if args.resume else _fresh(args)
    if not args.resume:
        _check_no_strangers(folder)  # before the lock, which is a file in the folder
    with locked(folder, what="run"):
        if not args.resume:
            _check_unused(folder)
        try:
            return _train(config, folder, use_previous=args.use_previous)
        except KeyboardInterrupt:
            log.info("%s", _how_to_go_on(folder))
            raise


def _train(config: "Config", folder: Path, *, use_previous: bool) -> int:
    from ecul.clustering.pipeline import cluster_epoch
    from ecul.engine.checkpoints import LocalStore
    from ecul.engine.fit import fit
    from ecul.engine.interfaces import Reporter, Reporters
    from ecul.engine.profiling import Profiler
    from ecul.engine.run_directory import RunDirectory, summary_table
    from ecul.report.finish import add_report
    from ecul.settings import oracle_warning

    options = config.runtime
    store = LocalStore(folder, keep=options.keep_checkpoints, keep_every=options.keep_every, use_previous=use_previous)
    reporters: list[Reporter] = [RunDirectory(folder, progress=sys.stderr.isatty())]
    if options.profile:
        reporters.append(Profiler(lambda name, content: (folder / name).write_bytes(content)))
    with closing(Reporters(reporters)) as reporter:
        result = fit(
            config,
            clustering_fn=partial(cluster_epoch, num_threads=config.clustering.num_threads),
            reporter=reporter,
            store=store,
        )
        if config.runtime.report:
            add_report(folder, reporter)
            log.info("report: %s", folder / "report.html")
    sys.stdout.write(summary_table(result.retrieval) + "\n")
    if (warning := oracle_warning(config)) is not None:
        sys.stdout.write(warning + "\n")
    return 0


def _how_to_go_on(folder: Path) -> str:
    from ecul.engine.checkpoints import checkpoint_files

    files = checkpoint_files(folder)
    if not files:
        return "stopped before the first checkpoint: start the command again"
    return f"stopped; the last checkpoint is {files[-1]}; go on with: ecul train --resume {folder}"


def _check_no_strangers(folder: Path) -> None:
    from ecul.engine.run_directory import foreign_entries

    if names := foreign_entries(folder):
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise ConfigError(f"--out {folder} holds other files ({shown}) and no run; choose another --out, or empty it")


def _check_unused(folder: Path) -> None:
    from ecul.engine.checkpoints import checkpoint_files

    if checkpoint_files(folder):
        raise ConfigError(f"{folder} already holds a run; go on with --resume {folder}, or choose another --out")


def _fresh(args: argparse.Namespace) -> "tuple[Config, Path]":
    from ecul.settings import load_config

    if not args.config:
        raise ConfigError("give --config FILE for a new run or --resume RUN_DIR to go on; shipped ones: configs/")
    config = load_config(args.config, _overrides(args))
    return config, Path(args.out or f"runs/{datetime.now():%Y%m%d-%H%M%S}")


def _resumed(args: argparse.Namespace) -> "tuple[Config, Path]":
    from ecul.engine.checkpoints import LocalStore
    from ecul.engine.state import checkpoint_config
    from ecul.schema import parse_assignments
    from ecul.settings import config_tree, resumed_config

    if args.config or args.out:
        raise ConfigError("--resume takes its configuration and folder from the run; leave out --config and --out")
    folder = Path(args.resume)
    checkpoint = LocalStore(folder, use_previous=args.use_previous).load()
    if checkpoint is None:
        raise CheckpointError(f"{folder} has no checkpoints/epoch_*/state.pt to resume from")
    changes = parse_assignments(_overrides(args))
    return resumed_config(config_tree(checkpoint_config(checkpoint)), changes), folder


def _overrides(args: argparse.Namespace) -> list[str]:
    return [*args.set, *([f"runtime.device={args.device}"] if args.device else [])]
