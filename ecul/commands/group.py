"""`ecul group`: groups the images of a folder that seem to show one person."""

import argparse
import csv
import io
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ecul.names import Device, ModalityChoice
from ecul.parameters import Preset

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)
_COLUMNS = ("group", "modality", "camera", "path")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul group`."""
    parser = subparsers.add_parser(
        "group",
        help="groups your own images by person, by clustering",
        description="Clusters the images of a folder, crops of persons, and writes the group of each: from 1, the "
        "largest first; 0 for images in no group. They need no identities or names of a dataset. An image without "
        "colour counts as infrared, unless the modality is given.",
    )
    parser.add_argument("folder", metavar="DIR", help="folder of images, with those below it")
    parser.add_argument("--weights", required=True, metavar="FILE|RUN", help="of `ecul export`, or a run directory")
    parser.add_argument("--out", required=True, metavar="FILE", help=".csv or .json: group, modality, camera, path")
    parser.add_argument("--links", metavar="FOLDER", help="also make a folder of links to the images of each group")
    parser.add_argument("--modality", choices=get_args(ModalityChoice), default="auto")
    parser.add_argument(
        "--cameras",
        choices=("one", "folders"),
        default="one",
        help="folders: each folder directly inside DIR is a camera, which the clustering takes into account",
    )
    parser.add_argument("--preset", default="emcc", choices=get_args(Preset), help="the distance (default: emcc)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="such as eps=0.5; see ecul cluster"
    )
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the groups and returns 0.

    Raises:
        DataError: a folder without readable images, or an output that cannot be written.
        ConfigError: an option that cannot be used.
        CheckpointError: weights that cannot be read.
    """
    from ecul import runtime
    from ecul.clustering.pipeline import cluster
    from ecul.commands.search import modality_of, warn_of
    from ecul.engine.collection import find_images, open_embedder
    from ecul.errors import ConfigError, DataError
    from ecul.files import output_file, write_atomically
    from ecul.schema import parse_assignments
    from ecul.settings import clustering_parameters
    from ecul.types import FeatureBank

    out = output_file(args.out)
    if out.suffix not in (".csv", ".json"):
        raise ConfigError(f"--out {args.out}: expected a name that ends in .csv or .json")
    links = None if args.links is None else _empty_folder(args.links)
    parameters = clustering_parameters(args.preset, parse_assignments(args.set))
    embedder = open_embedder(args.weights, runtime.pick_device(args.device))
    images = embedder.embed(find_images([args.folder]), modality_of(args.modality))
    warn_of(images, "images")
    if not images.paths:
        raise DataError(f"no image in {args.folder} can be read")
    camera = camera_numbers(images.paths, Path(args.folder), args.cameras)
    labels = cluster(FeatureBank(images.features, images.modality, camera), parameters).labels
    group = by_size(labels)
    columns = (group.tolist(), ["infrared" if kind else "visible" for kind in images.modality], camera.tolist())
    rows = sorted(zip(*columns, images.paths, strict=True), key=lambda row: (row[0] == 0, row[0], row[3]))
    write_atomically(out, _as_csv(rows) if out.suffix == ".csv" else _as_json(rows, images.unreadable))
    if links is not None:
        _link(rows, links)
    print(f"{len(rows)} images: {int(group.max(initial=0))} groups, {int((group == 0).sum())} images in none; {out}")
    return 0


def camera_numbers(paths: tuple[str, ...], folder: Path, cameras: str) -> "np.ndarray":
    """Returns a camera number for each image, int32 (N,): 1 for all, or one for each folder directly inside."""
    import numpy as np

    if cameras == "one":
        return np.ones(len(paths), np.int32)
    parts = [Path(os.path.relpath(path, folder)).parts for path in paths]
    names = [part[0] if len(part) > 1 else "" for part in parts]
    return np.unique(names, return_inverse=True)[1].astype(np.int32) + 1


def by_size(labels: "np.ndarray") -> "np.ndarray":
    """Returns labels (N,) as groups (N,) numbered from 1, the largest first; noise becomes 0."""
    import numpy as np

    sizes = np.bincount(labels[labels >= 0], minlength=1)
    number = np.empty(len(sizes) + 1, np.int64)
    number[np.argsort(-sizes, kind="stable")] = np.arange(1, len(sizes) + 1)
    number[-1] = 0
    return number[labels]


_Row = tuple[int, str, int, str]


def _as_csv(rows: list[_Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def _as_json(rows: list[_Row], unreadable: tuple[str, ...]) -> str:
    images: list[dict[str, Any]] = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    return json.dumps({"images": images, "unreadable": list(unreadable)}, indent=1) + "\n"


def _empty_folder(path: str) -> Path:
    from ecul.errors import DataError
    from ecul.files import output_folder

    folder = output_folder(path, option="--links")
    if any(folder.iterdir()):
        raise DataError(f"--links {path} is not empty; give a new folder")
    return folder


def _link(rows: list[_Row], folder: Path) -> None:
    """Makes `group-0001/`, ... and `none/` with links to the images; equal names get a number in front."""
    for group, _, _, path in rows:
        place = folder / (f"group-{group:04d}" if group else "none")
        place.mkdir(exist_ok=True)
        name, count = Path(path).name, 1
        while (place / name).is_symlink():
            count += 1
            name = f"{count}-{Path(path).name}"
        (place / name).symlink_to(os.path.abspath(path))
