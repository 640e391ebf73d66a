"""Parts of a page that another program has written as data: a sweep, or a repetition of runs.

So `ecul report` shows a sweep, and knows no Optuna.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ecul.errors import ConfigError, DataError
from ecul.files import write_atomically
from ecul.report.blocks import Block, Folded, Part, Picture, Pictures, Table, Text, data_uri
from ecul.schema import Strict, check

STORED_FILE = "report/page.json"
_KINDS = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}


class StoredTable(Strict):
    """A table whose first column names its rows."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float | None, ...], ...]
    folded: bool = False
    """Shown on demand."""


class StoredPicture(Strict):
    """A picture in the folder of the stored report."""

    title: str
    alt: str
    """What it shows, in words."""
    file: str
    """Name of an .svg, .png or .jpg file beside page.json."""
    wide: bool = False


class StoredPart(Strict):
    """A part of the page: texts, then tables, then pictures."""

    title: str
    texts: tuple[str, ...] = ()
    tables: tuple[StoredTable, ...] = ()
    pictures: tuple[StoredPicture, ...] = ()


class StoredReport(Strict):
    """`report/page.json` in the folder of a sweep or a repetition."""

    title: str
    subtitle: str = ""
    parts: tuple[StoredPart, ...] = ()
    runs: tuple[str, ...] = ()
    """Run directories to show with it, relative to the folder."""


def write_stored(folder: Path, report: StoredReport) -> None:
    """Writes `report/page.json` in a folder.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(folder / STORED_FILE, json.dumps(report.model_dump(), indent=1, default=str) + "\n")


def read_stored(folder: Path) -> StoredReport | None:
    """Returns the report stored in a folder; None where there is none.

    Raises:
        DataError: it is damaged, or made by another version.
    """
    path = folder / STORED_FILE
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_bytes())
        return check(StoredReport, tree)
    except (ValueError, ConfigError) as error:
        raise DataError(f"{path} is damaged or of another version ({error}); write it again") from None


def parts_of(folder: Path, report: StoredReport) -> list[Part]:
    """Returns a stored report's parts with its pictures read.

    Raises:
        DataError: a picture is missing, or is none.
    """
    return [Part(part.title, _blocks(folder, part)) for part in report.parts]


def _blocks(folder: Path, part: StoredPart) -> Sequence[Block]:
    blocks: list[Block] = [Text(text) for text in part.texts]
    for table in part.tables:
        shown = Table(table.caption, table.columns, table.rows)
        blocks.append(Folded(table.caption, [shown]) if table.folded else shown)
    pictures = [_picture((folder / STORED_FILE).parent, picture) for picture in part.pictures]
    for wide in (False, True):
        if alike := [picture for picture in pictures if picture.wide == wide]:
            blocks.append(Pictures(alike))
    return blocks


def _picture(folder: Path, picture: StoredPicture) -> Picture:
    path = folder / Path(picture.file).name  # of this folder alone, whatever the file says
    kind = _KINDS.get(path.suffix)
    if kind is None or not path.is_file():
        raise DataError(f"{path} is missing or no {', '.join(_KINDS)} file; write the report again")
    return Picture(picture.title, picture.alt, data_uri(path.read_bytes(), kind), picture.wide)
