"""Rank lists of images of any origin, as one page."""

from ecul.engine.collection import Collection
from ecul.engine.inspection_file import thumbnail
from ecul.report.blocks import Part, Sheet, Text, Tile, data_uri
from ecul.report.page import Page, render

_INTRO = (
    "Each row begins with a query; the images of the folder that are most similar to it follow. Under each: V for "
    "visible or I for infrared, and the cosine similarity of the embeddings."
)


def rank_page(asked: Collection, known: Collection, found: list[list[tuple[int, float]]]) -> str:
    """Returns the lists as HTML, with small images inside; it loads nothing and runs no scripts.

    Args:
        asked: the queries.
        known: the gallery.
        found: for each query the positions of its nearest gallery images, with their similarity.

    Raises:
        DataError: an image that cannot be read any more.
    """
    tiles: dict[str, str] = {}

    def picture(path: str) -> str:
        if path not in tiles:
            tiles[path] = data_uri(thumbnail(path), "image/jpeg")
        return tiles[path]

    sheets = []
    for number, (path, nearest) in enumerate(zip(asked.paths, found, strict=True)):
        letter, kind = _kind(asked, number)
        row = [Tile(picture(path), f"query, {kind}: {path}", f"query {letter}", "query")]
        for place, (position, similarity) in enumerate(nearest, start=1):
            letter, kind = _kind(known, position)
            alt = f"rank {place}, {kind}, similarity {similarity:.3f}: {known.paths[position]}"
            row.append(Tile(picture(known.paths[position]), alt, f"{letter} {similarity:.2f}"))
        sheets.append(Sheet(path, f"{len(nearest)} of {len(known.paths)} images", row))
    subtitle = f"{len(asked.paths)} queries among {len(known.paths)} images"
    return render(Page("Rank lists", subtitle, [Part("Rank lists", [Text(_INTRO), *sheets])]))


def _kind(images: Collection, position: int) -> tuple[str, str]:
    return ("I", "infrared") if images.modality[position] else ("V", "visible")
