"""Writes a sweep's report: text, pictures, and its best point as a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecul.engine.run_directory import REPORT_FILE
from ecul.files import write_atomically
from ecul.report.stored import write_stored
from ecul.report.write import write_report as write_page
from tune.folder import read_sweep
from tune.report.analysis import Findings, analyse
from tune.report.markdown import best_yaml, report_text
from tune.report.optuna_plots import draw_optuna
from tune.report.page import stored_report
from tune.report.plots import draw_all
from tune.space.build import build_space, from_first_epoch
from tune.study.store import read_study
from tune.trials.settings import base_config, original_config


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        text: as in report.md.
        findings: what it shows.
        pictures: the files.
        page: report.html.
    """

    text: str
    findings: Findings
    pictures: Sequence[Path]
    page: Path


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
    space = build_space(sweep, base_config(original, warm_start=sweep.full.warm_start))
    study = read_study(folder, sweep.storage)
    findings = analyse(study, space, sweep.targets)
    title = f"Sweep {folder.name} ({sweep.fidelity})"
    text = report_text(findings, title=title, top=top)
    write_atomically(folder / "report" / "report.md", text)
    if findings.ranked:
        values = from_first_epoch(findings.ranked[0].values, space, original)
        best = best_yaml(original, values, origin=f"best trial of sweep {folder.name}")
        write_atomically(folder / "report" / "best.yaml", best)
    pictures = draw_all(findings, space, folder / "report")
    pictures += draw_optuna(study, findings, space, folder / "report")
    write_stored(folder, stored_report(findings, pictures, title=title, best_config=bool(findings.ranked)))
    page = folder / "report" / REPORT_FILE
    write_page([folder], page)
    return Report(text, findings, pictures, page)
