"""The report at the end of a training."""

from pathlib import Path

from ecul.engine.interfaces import Reporter
from ecul.engine.run_directory import REPORT_FILE
from ecul.errors import EculError
from ecul.report.write import report_page


def add_report(folder: Path, reporter: Reporter) -> None:
    """Hands the page of a finished run to its reporter. A page that cannot be made is a warning of the run.

    Args:
        folder: the run directory, or a copy of the files that `ecul.report.runs.FILES` names.
        reporter: of the run.
    """
    try:
        page = report_page([folder])
    except Exception as error:  # whatever it is, it must not end a run that is complete
        cause = error if isinstance(error, EculError | OSError) else repr(error)
        reporter.warn(f"no {REPORT_FILE}: {cause}; the run is complete, try: ecul report {folder}")
    else:
        reporter.file(REPORT_FILE, page.encode())
