"""`ecul embed`: embeddings of any images, with exported weights."""

import argparse
import logging
from pathlib import Path
from typing import get_args

from ecul.names import Device

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul embed`."""
    parser = subparsers.add_parser("embed", help="embeddings of image files, with exported weights")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files of one modality")
    parser.add_argument("--weights", required=True, metavar="FILE.safetensors")
    parser.add_argument("--modality", choices=("visible", "infrared"), default="visible")
    parser.add_argument("--out", default="embeddings.npz", metavar="FILE.npz", help="`features` and `paths`")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes unit embeddings, one row an image in the given order, and returns 0."""
    import numpy as np

    from ecul import runtime
    from ecul.data.images import ImageStore
    from ecul.data.transforms import normalise
    from ecul.features.extract import extract
    from ecul.files import output_file, replacing
    from ecul.models.weights import model_from_file
    from ecul.types import Modality

    out = output_file(args.out)
    model, description = model_from_file(Path(args.weights))
    device = runtime.pick_device(args.device)
    model.to(device)
    store = ImageStore(args.images, height=description["height"], width=description["width"], cache_bytes=0)
    modality = np.full(len(args.images), Modality[args.modality.upper()], np.int32)
    features = extract(
        model.embed,
        lambda wanted: normalise(store.get(wanted).to(device)),
        modality,
        np.arange(len(args.images)),
        batch_size=args.batch_size,
    )
    rows = features.cpu().numpy()
    with replacing(out) as partial, partial.open("wb") as file:
        np.savez(file, features=rows, paths=np.array(args.images))
    log.info("%d embeddings of size %d written to %s", *features.shape, out)
    return 0
