"""Writes a sweep's report: text, pictures, and its best point as a configuration."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

from ecul.config import Config
from ecul.engine.run_directory import REPORT_FILE
from ecul.files import write_atomically
from ecul.report.finish import made_or_warned
from ecul.report.stored import write_stored
from ecul.report.write import write_report as write_page
from tune.config import SweepConfig
from tune.folder import read_sweep
from tune.report.analysis import Findings, analyse
from tune.report.markdown import best_yaml, report_text
from tune.report.optuna_plots import draw_optuna
from tune.report.page import stored_report
from tune.report.plots import draw_all
from tune.report.verdict import Confirmed, headline
from tune.space.build import build_space, from_first_epoch
from tune.space.search_space import SearchSpace
from tune.study.confirmation import choose_candidates, read_confirmation
from tune.study.store import read_study
from tune.trials.settings import base_config, original_config

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        text: as in report.md.
        findings: what it shows.
        pictures: the files.
        page: report.html; None where it could not be made.
    """

    text: str
    findings: Findings
    pictures: Sequence[Path]
    page: Path | None


def write_report(folder: Path, *, top: int = 10) -> Report:
    """Writes report.md, report.html, the pictures and best.yaml into a sweep's `report` folder. Ray is not needed.

    Args:
        folder: of the sweep, which may still be running.
        top: most trials in the table of the best.

    Raises:
        ConfigError: there is no such sweep.
    """
    sweep = read_sweep(folder)
    original = original_config(sweep)
    base = base_config(original, warm_start=sweep.full.warm_start)
    space = build_space(sweep, base)
    study = read_study(folder, sweep.storage)
    confirmed = _confirmed(folder, sweep, study, space, base)
    findings = replace(analyse(study, space, sweep.targets), confirmed=confirmed)
    title = f"Sweep {folder.name} ({sweep.fidelity})"
    text = report_text(findings, title=title, top=top)
    write_atomically(folder / "report" / "report.md", text)
    if findings.ranked:
        best = _best(findings, folder.name, original, space)
        write_atomically(folder / "report" / "best.yaml", best)
    advice = f"{folder}/report holds the rest"
    pictures: list[Path] = []
    for draw in (
        lambda: draw_all(findings, space, folder / "report"),
        lambda: draw_optuna(study, findings, space, folder / "report"),
    ):
        pictures += made_or_warned(draw, "pictures", warn=log.warning, advice=advice) or []

    def write() -> Path:
        write_stored(folder, stored_report(findings, pictures, title=title, best_config=bool(findings.ranked)))
        page = folder / "report" / REPORT_FILE
        write_page([folder], page)
        return page

    page = made_or_warned(write, REPORT_FILE, warn=log.warning, advice=advice)
    return Report(text, findings, pictures, page)


def _confirmed(
    folder: Path, sweep: SweepConfig, study: optuna.Study, space: SearchSpace, base: Config
) -> Confirmed | None:
    """What the confirmation says; None for a sweep that has none and is to have none."""
    confirmation = read_confirmation(folder)
    if confirmation is None:
        return None if sweep.confirm is None else Confirmed(None, headline(None, outdated=False))
    newest = choose_candidates(study, space, base, top=confirmation.top)
    outdated = [item.values for item in newest] != [item.values for item in confirmation.candidates]
    return Confirmed(confirmation, headline(confirmation, outdated=outdated))


def _best(findings: Findings, sweep: str, original: Config, space: SearchSpace) -> str:
    """The text of best.yaml: the candidate that was confirmed, the base where none was, the best trial without one."""
    if findings.confirmed is None:
        values = from_first_epoch(findings.ranked[0].values, space, original)
        return best_yaml(original, values, origin=f"best trial of sweep {sweep}, not confirmed")
    line = findings.confirmed.headline
    origin = f"sweep {sweep}: {line.short} ({line.numbers})"
    return best_yaml(original, {} if line.winner is None else line.winner.values, origin=origin)
