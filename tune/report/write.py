"""Writes a sweep's report: text, pictures, and its best point as a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecul.files import write_atomically
from tune.folder import read_sweep
from tune.report.analysis import Findings, analyse
from tune.report.markdown import best_yaml, report_text
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
    """

    text: str
    findings: Findings
    pictures: Sequence[Path]


def write_report(folder: Path, *, top: int = 10) -> Report:
    """Writes report.md, the pictures and best.yaml into a sweep's `report` folder. Ray is not needed.

    Args:
        folder: of the sweep, which may still be running.
        top: most trials in the table of the best.

    Raises:
        ConfigError: there is no such sweep.
    """
    sweep = read_sweep(folder)
    original = original_config(sweep)
    space = build_space(sweep, base_config(original, warm_start=sweep.full.warm_start))
    findings = analyse(read_study(folder, sweep.storage), space, sweep.targets)
    text = report_text(findings, title=f"Sweep {folder.name} ({sweep.fidelity})", top=top)
    write_atomically(folder / "report" / "report.md", text)
    if findings.ranked:
        values = from_first_epoch(findings.ranked[0].values, space, original)
        best = best_yaml(original, values, origin=f"best trial of sweep {folder.name}")
        write_atomically(folder / "report" / "best.yaml", best)
    return Report(text, findings, draw_all(findings, space, folder / "report"))
