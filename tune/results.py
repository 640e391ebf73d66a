"""`python -m tune.results`: what a sweep found."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecul.console import Parser, run_command
from ecul.errors import ConfigError

if TYPE_CHECKING:
    from tune.report.analysis import Findings

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(prog="python -m tune.results", description="Show what a sweep found.")
    parser.add_argument("name", metavar="NAME", help="of the sweep")
    parser.add_argument("--storage", default="runs/tune", metavar="FOLDER")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="trials in the table")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Prints and writes the report and returns the exit code: 0 good, 2 bad input."""
    args = build_parser().parse_args(argv)
    return run_command("tune.results", lambda: _show(Path(args.storage) / args.name, top=args.top))


def _show(folder: Path, *, top: int) -> int:
    sys.stdout.write(write_report(folder, top=top).text)
    log.info("report, pictures and best.yaml in %s", folder / "report")
    return 0


@dataclass(frozen=True)
class Report:
    """A written report."""

    text: str
    findings: "Findings"
    pictures: Sequence[Path]


def write_report(folder: Path, *, top: int = 10) -> Report:
    """Writes report.md, the pictures and best.yaml into a sweep's `report` folder.

    Raises:
        ConfigError: there is no such sweep.
    """
    import optuna

    from ecul.files import write_atomically
    from tune.config import load_sweep
    from tune.report.analysis import analyse
    from tune.report.markdown import best_yaml, report_text
    from tune.report.plots import draw_all
    from tune.space.build import base_config, build_space, from_first_epoch, original_config
    from tune.study.store import open_storage
    from tune.sweep import SWEEP_FILE

    if not (folder / SWEEP_FILE).is_file():
        raise ConfigError(f"no sweep {folder} ({SWEEP_FILE} is missing); check the name and --storage")
    sweep = load_sweep(folder / SWEEP_FILE)
    space = build_space(sweep, base_config(sweep))
    study = optuna.load_study(study_name=folder.name, storage=open_storage(folder, sweep.storage, writing=False))
    findings = analyse(study, space, sweep.targets)
    text = report_text(findings, title=f"Sweep {folder.name} ({sweep.fidelity})", top=top)
    write_atomically(folder / "report" / "report.md", text)
    if findings.ranked:
        original = original_config(sweep)
        values = from_first_epoch(findings.ranked[0].values, space, original)
        best = best_yaml(original, values, origin=f"best trial of sweep {folder.name}")
        write_atomically(folder / "report" / "best.yaml", best)
    return Report(text, findings, draw_all(findings, space, folder / "report"))


if __name__ == "__main__":
    sys.exit(main())
