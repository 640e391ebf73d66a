"""`ecul embed`: embeddings of any images, with exported weights."""

import argparse
import logging
from typing import get_args

from ecul.names import Device

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul embed`."""
    parser = subparsers.add_parser("embed", help="embeddings of image files, with exported weights")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files of one modality")
    parser.add_argument("--weights", required=True, metavar="FILE|RUN", help="of `ecul export`, or a run directory")
    parser.add_argument("--modality", choices=("visible", "infrared"), default="visible")
    parser.add_argument("--out", default="embeddings.npz", metavar="FILE.npz", help="`features` and `paths`")
    parser.add_argument("--batch-size", type=int, default=32, help="images at once (default: 32)")
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes unit embeddings, one row an image in the given order, and returns 0."""
    import numpy as np

    from ecul import runtime
    from ecul.data.images import ImageStore
    from ecul.engine.collection import open_embedder
    from ecul.engine.embedding import embed_pixels
    from ecul.errors import ConfigError
    from ecul.files import output_file, replacing
    from ecul.types import Modality

    if args.batch_size < 1:
        raise ConfigError(f"--batch-size is {args.batch_size}, expected at least 1")
    out = output_file(args.out)
    embedder = open_embedder(args.weights, runtime.pick_device(args.device))
    store = ImageStore(args.images, height=embedder.height, width=embedder.width, cache_bytes=0)
    features = embed_pixels(
        embedder.network,
        store.get,
        np.full(len(args.images), Modality[args.modality.upper()], np.int32),
        np.arange(len(args.images)),
        device=embedder.device,
        batch_size=args.batch_size,
    )
    rows = features.cpu().numpy()
    with replacing(out) as partial, partial.open("wb") as file:
        np.savez(file, features=rows, paths=np.array(args.images))
    log.info("%d embeddings of size %d written to %s", *features.shape, out)
    return 0
