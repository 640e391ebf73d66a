"""`ecul search`: the images of a folder that are most like some query images."""

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ecul.names import Device, ModalityChoice

if TYPE_CHECKING:
    from ecul.engine.collection import Collection

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul search`."""
    parser = subparsers.add_parser(
        "search",
        help="rank lists for your own images",
        description="Ranks the images of a folder by their similarity to each query. Images are crops of persons; they "
        "need no identities, cameras or names of a dataset. An image without colour counts as infrared, unless the "
        "modality is given.",
    )
    parser.add_argument("queries", nargs="+", metavar="QUERY", help="image files or folders of images")
    parser.add_argument("--gallery", required=True, metavar="DIR", help="folder of images, with those below it")
    parser.add_argument("--weights", required=True, metavar="FILE|RUN", help="of `ecul export`, or a run directory")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="images of each list (default: 10)")
    parser.add_argument("--query-modality", choices=get_args(ModalityChoice), default="auto")
    parser.add_argument("--gallery-modality", choices=get_args(ModalityChoice), default="auto")
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.add_argument("--json", metavar="FILE", help="also write the lists as JSON")
    parser.add_argument("--html", metavar="FILE", help="also write them as one page with the images")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the rank lists and returns 0.

    Raises:
        DataError: a query that cannot be read, a folder without images, or an output that cannot be written.
        CheckpointError: weights that cannot be read.
    """
    from ecul import runtime
    from ecul.engine.collection import find_images, open_embedder, rank
    from ecul.errors import ConfigError, DataError
    from ecul.files import output_file, write_atomically

    if args.top < 1:
        raise ConfigError(f"--top is {args.top}, expected at least 1")
    for option in ("json", "html"):
        if getattr(args, option):
            output_file(getattr(args, option), option=f"--{option}")
    queries, gallery = find_images(args.queries), find_images([args.gallery], option="--gallery")
    embedder = open_embedder(args.weights, runtime.pick_device(args.device))
    asked = embedder.embed(queries, modality_of(args.query_modality), label="embedding queries")
    if not asked.paths:
        raise DataError(asked.unreadable[0])
    warn_of(asked, "queries")
    known = embedder.embed(gallery, modality_of(args.gallery_modality), label="embedding the gallery")
    warn_of(known, "gallery")
    if not known.paths:
        raise DataError(f"no image in {args.gallery} can be read")
    found = rank(asked, known, top=args.top)
    print(_text(asked, known, found))
    if args.json:
        write_atomically(Path(args.json), json.dumps(_tree(asked, known, found), indent=1) + "\n")
    if args.html:
        from ecul.report.rank_lists import rank_page

        write_atomically(Path(args.html), rank_page(asked, known, found))
    return 0


def modality_of(choice: str) -> Any:
    """Returns the modality of an option's value, None for `auto`."""
    from ecul.types import Modality

    return None if choice == "auto" else Modality[choice.upper()]


def warn_of(images: "Collection", name: str) -> None:
    """Logs how the modalities of images called `name` were taken, and which files could not be read."""
    infrared = int(images.modality.sum())
    log.info("%s: %d visible, %d infrared", name, len(images.paths) - infrared, infrared)
    for line in images.unreadable[:5]:
        log.warning("left out: %s", line)
    if len(images.unreadable) > 5:
        log.warning("left out: %d more images that cannot be read", len(images.unreadable) - 5)


def _kind(images: "Collection", position: int) -> str:
    return "infrared" if images.modality[position] else "visible"


def _text(asked: "Collection", known: "Collection", found: list[list[tuple[int, float]]]) -> str:
    lines: list[str] = []
    for number, path in enumerate(asked.paths):
        lines.append(f"{path}  ({_kind(asked, number)})")
        lines += [
            f"{place:5d}  {similarity:6.3f}  {_kind(known, position):<8}  {known.paths[position]}"
            for place, (position, similarity) in enumerate(found[number], start=1)
        ]
    return "\n".join(lines)


def _tree(asked: "Collection", known: "Collection", found: list[list[tuple[int, float]]]) -> dict[str, Any]:
    lists = [
        {
            "query": path,
            "modality": _kind(asked, number),
            "ranked": [
                {"path": known.paths[position], "modality": _kind(known, position), "similarity": similarity}
                for position, similarity in found[number]
            ],
        }
        for number, path in enumerate(asked.paths)
    ]
    return {"lists": lists, "unreadable": [*asked.unreadable, *known.unreadable]}
