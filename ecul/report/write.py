"""Writes the report of runs, sweeps and repetitions."""

from collections.abc import Sequence
from pathlib import Path

from ecul.errors import DataError
from ecul.files import write_atomically
from ecul.report.blocks import Block, Folded, Part, Text
from ecul.report.clusters import image_parts
from ecul.report.comparison import comparison_part
from ecul.report.page import Page, render
from ecul.report.runs import Found, Run, find
from ecul.report.settings_tables import settings_part
from ecul.report.stored import parts_of
from ecul.report.training import overview, timings_part, training_parts

LARGEST_PAGE = 10_000_000
"""Bytes."""
_WITH_IMAGES = 4
_IN_DETAIL = 12


def write_report(paths: Sequence[Path], out: Path) -> int:
    """Writes one page of what paths lead to and returns its size in bytes.

    Args:
        paths: see `ecul.report.runs.find`.
        out: the HTML file.

    Raises:
        DataError: a path leads to nothing, a file is damaged, or the page cannot be written.
    """
    text = report_page(paths)
    try:
        write_atomically(out, text)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}; choose another --out") from None
    return len(text.encode())


def report_page(paths: Sequence[Path]) -> str:
    """Returns the page as HTML, of less than 10 MB: with images of as many runs as that allows.

    Raises:
        DataError: as for `write_report`.
    """
    found = find(paths)
    text = ""
    for with_images in range(min(_WITH_IMAGES, len(found.runs)), -1, -1):
        text = render(_page(found, with_images))
        if len(text.encode()) < LARGEST_PAGE:
            break
    return text


def _page(found: Found, with_images: int) -> Page:
    stored = [part for folder, report in found.stored for part in parts_of(folder, report)]
    titles = [report.title for _, report in found.stored]
    runs = found.runs
    if len(runs) == 1 and not stored:
        (run,) = runs
        parts = [Part("Result", overview(run)), settings_part(runs), *_run_parts(run, images=with_images > 0)]
        return Page(f"Run {run.name}", _subtitle(run), parts)
    title = ", ".join(titles) if titles else f"{len(runs)} runs"
    subtitles = [report.subtitle for _, report in found.stored if report.subtitle]
    parts = [*stored]
    if runs:
        parts += [settings_part(runs)] if len(runs) > 1 or not stored else []
        parts += [comparison_part(runs)] if len(runs) > 1 else []
        parts += [_run_part(run, images=number < with_images) for number, run in enumerate(runs[:_IN_DETAIL])]
    if len(runs) > _IN_DETAIL:
        left = ", ".join(run.name for run in runs[_IN_DETAIL:])
        parts.append(Part("More runs", [Text(f"Without details here; give fewer runs to see them: {left}")]))
    return Page(title, "; ".join(subtitles) or ", ".join(run.name for run in runs), parts)


def _run_parts(run: Run, *, images: bool) -> list[Part]:
    parts = training_parts(run)
    if run.inspection is not None and images:
        parts += image_parts(run.inspection)
    elif run.inspection is None:
        text = "This run holds no inspection.npz: it has not reached an evaluation, or runtime.report is off."
        parts.append(Part("Clusters", [Text(text)]))
    return [*parts, timings_part(run)]


def _run_part(run: Run, *, images: bool) -> Part:
    """One run of several: its parts under headings, those with images folded."""
    blocks: list[Block] = [Text(_subtitle(run)), *overview(run)]
    for part in _run_parts(run, images=images):
        blocks.append(Folded(part.title, part.blocks))
    if run.inspection is not None and not images:
        blocks.append(Text("Its images are left out here to keep the page small; give this run alone to see them."))
    return Part(f"Run {run.name}", blocks)


def _subtitle(run: Run) -> str:
    facts = run.facts
    images = facts.get("num_training_images")
    oracle = run.settings.get("oracle")
    told = [
        f"TRAINED ON TRUE LABELS (oracle={oracle}): a bound, and no result of unsupervised training" if oracle else "",
        str(facts.get("dataset") or "unknown data"),
        f"{images} training images" if images is not None else "",
        f"seed {run.settings.get('seed')}",
        f"on {facts.get('device')}" if facts.get("device") else "",
        f"ecul {facts.get('version')}" if facts.get("version") else "",
    ]
    return ", ".join(text for text in told if text)
