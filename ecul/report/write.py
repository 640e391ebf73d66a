"""Writes the report of runs, sweeps and repetitions."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    drawn = [_drawn(run, images=number < _WITH_IMAGES) for number, run in enumerate(found.runs[:_IN_DETAIL])]
    common = _common(found)
    text = ""
    for with_images in range(min(_WITH_IMAGES, len(drawn)), -1, -1):  # pictures are drawn once, above
        text = render(_page(found, common, drawn, with_images))
        if len(text.encode()) < LARGEST_PAGE:
            break
    return text


@dataclass(frozen=True)
class _Drawn:
    """A run with its parts.

    Attributes:
        run: it.
        training: its curves and diagnostics.
        images: its images; none where it holds none, or where no page would show them.
        timings: where its time went.
    """

    run: Run
    training: Sequence[Part]
    images: Sequence[Part]
    timings: Part

    def parts(self, *, images: bool) -> list[Part]:
        """All of them; where there is nothing to look at, a line says why."""
        if self.run.inspection is not None:
            return [*self.training, *(self.images if images else ()), self.timings]
        text = "This run holds no inspection.npz: it has not reached an evaluation, or runtime.report is off."
        return [*self.training, Part("Clusters", [Text(text)]), self.timings]


def _drawn(run: Run, *, images: bool) -> _Drawn:
    shown = image_parts(run.inspection) if images and run.inspection is not None else ()
    return _Drawn(run, training_parts(run), shown, timings_part(run))


def _common(found: Found) -> list[Part]:
    """What is above the runs of a page that shows several, or what another program stored."""
    parts = [part for folder, report in found.stored for part in parts_of(folder, report)]
    runs = found.runs
    parts += [settings_part(runs)] if len(runs) > 1 or (runs and not parts) else []
    return parts + ([comparison_part(runs)] if len(runs) > 1 else [])


def _page(found: Found, common: Sequence[Part], drawn: Sequence[_Drawn], with_images: int) -> Page:
    runs = found.runs
    if len(runs) == 1 and not found.stored:
        (run,) = runs
        parts = [Part("Result", overview(run)), *common, *drawn[0].parts(images=with_images > 0)]
        return Page(f"Run {run.name}", _subtitle(run), parts)
    title = ", ".join(report.title for _, report in found.stored) or f"{len(runs)} runs"
    subtitles = [report.subtitle for _, report in found.stored if report.subtitle]
    parts = [*common, *(_run_part(one, images=number < with_images) for number, one in enumerate(drawn))]
    if len(runs) > _IN_DETAIL:
        left = ", ".join(run.name for run in runs[_IN_DETAIL:])
        parts.append(Part("More runs", [Text(f"Without details here; give fewer runs to see them: {left}")]))
    return Page(title, "; ".join(subtitles) or ", ".join(run.name for run in runs), parts)


def _run_part(drawn: _Drawn, *, images: bool) -> Part:
    """One run of several: its parts under headings, folded."""
    run = drawn.run
    blocks: list[Block] = [Text(_subtitle(run)), *overview(run)]
    blocks += [Folded(part.title, part.blocks) for part in drawn.parts(images=images)]
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
