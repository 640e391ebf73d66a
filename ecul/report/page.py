"""From parts to one HTML page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ecul import __version__
from ecul.report.blocks import Cell, Part


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the page.
        subtitle: one line under it.
        parts: in order.
    """

    title: str
    subtitle: str
    parts: Sequence[Part]


def render(page: Page) -> str:
    """Returns the page as HTML. Every text is escaped; there are no scripts, and nothing is loaded."""
    environment = Environment(
        loader=PackageLoader("ecul.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell_text
    environment.filters["breakable"] = _breakable
    environment.filters["numeric_columns"] = numeric_columns
    anchors = [(f"{number}-{_slug(part.title)}", part) for number, part in enumerate(page.parts, start=1)]
    return environment.get_template("page.html.j2").render(page=page, parts=anchors, version=__version__)


def cell_text(value: Cell) -> str:
    """Returns a table cell as text: three significant digits or whole numbers, - where there is nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not isfinite(value):
        return "-"
    if float(value).is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def numeric_columns(rows: Sequence[Sequence[Cell]]) -> list[bool]:
    """Whether each column of a table holds numbers, and nothing else."""
    columns = zip_longest(*rows)
    known = [[value for value in column if value is not None] for column in columns]
    return [bool(values) and all(map(_is_number, values)) for values in known]


def _breakable(text: str) -> Markup:
    """A name as HTML whose lines may break behind its dots and underscores."""
    return Markup(re.sub(r"(?<=[A-Za-z0-9])([._/])(?=[A-Za-z])", r"\1<wbr>", str(escape(text))))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
