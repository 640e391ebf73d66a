"""What a page is made of. Everything is plain text until the template escapes it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from matplotlib.figure import Figure

from ecul.plots.vector import svg_text

Cell: TypeAlias = str | float | int | None


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class Heading:
    """A heading inside a part."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows; `wrap` lets long texts take several lines."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    wrap: bool = False
    kind: str = "table"


@dataclass(frozen=True)
class Picture:
    """A picture; `alt` says in words what it shows, `uri` is a data URI."""

    title: str
    alt: str
    uri: str
    wide: bool = False


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side, as many as fit."""

    pictures: Sequence[Picture]
    kind: str = "pictures"


@dataclass(frozen=True)
class Tile:
    """A small image of a person with a line under it; `mark` is `right`, `wrong`, `query` or empty."""

    uri: str
    alt: str
    caption: str
    mark: str = ""


@dataclass(frozen=True)
class Sheet:
    """Small images in a row that wraps, under a title and a note."""

    title: str
    note: str
    tiles: Sequence[Tile]
    kind: str = "sheet"


@dataclass(frozen=True)
class Sheets:
    """Sheets side by side, as many as fit; narrow ones hold two images."""

    sheets: Sequence[Sheet]
    narrow: bool = False
    kind: str = "sheets"


@dataclass(frozen=True)
class Folded:
    """Blocks that open on demand."""

    summary: str
    blocks: "Sequence[Block]"
    kind: str = "folded"


@dataclass(frozen=True)
class Figures:
    """Large numbers: what it is, its value, and a small note behind it that may be empty."""

    figures: Sequence[tuple[str, str, str]]
    kind: str = "figures"


Block: TypeAlias = Text | Heading | Table | Pictures | Sheet | Sheets | Folded | Figures


@dataclass(frozen=True)
class Part:
    """A part of a page with its own entry in the list of contents."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list[Block])


def drawn(figure: Figure, title: str, alt: str, *, wide: bool = False) -> Picture:
    """Returns a figure, built inside `ecul.plots.vector.vector_style`, as a picture."""
    return Picture(title, alt, data_uri(svg_text(figure).encode(), "image/svg+xml"), wide)


def data_uri(content: bytes, kind: str) -> str:
    """Returns a file's content as a URI; `kind` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
