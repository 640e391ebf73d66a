"""The report at the end of a training."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ecul.engine.interfaces import Reporter
from ecul.engine.run_directory import REPORT_FILE
from ecul.errors import EculError
from ecul.report.write import report_page

T = TypeVar("T")


def add_report(folder: Path, reporter: Reporter) -> None:
    """Hands the page of a finished run to its reporter. A page that cannot be made is a warning of the run.

    Args:
        folder: the run directory, or a copy of the files that `ecul.report.runs.FILES` names.
        reporter: of the run.
    """
    advice = f"the run is complete, try: ecul report {folder}"
    page = made_or_warned(lambda: report_page([folder]), REPORT_FILE, warn=reporter.warn, advice=advice)
    if page is not None:
        reporter.file(REPORT_FILE, page.encode())


def made_or_warned(make: Callable[[], T], what: str, *, warn: Callable[[str], None], advice: str) -> T | None:
    """Returns what is for the eye, or None after a warning: whatever its fault is, it must not end finished work.

    Args:
        make: makes it.
        what: its name in the warning.
        warn: takes the warning.
        advice: what is there all the same, and what to do.
    """
    try:
        return make()
    except Exception as error:
        cause = error if isinstance(error, EculError | OSError) else repr(error)
        warn(f"no {what}: {cause}; {advice}")
        return None
