"""`ecul pretrain`: starting weights for the small backbone."""

import argparse
import logging
from typing import get_args

from ecul.names import Device

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul pretrain`."""
    parser = subparsers.add_parser("pretrain", help="starting weights from synthetic visible people (no infrared)")
    parser.add_argument("--out", required=True, metavar="FILE", help="safetensors file to write")
    parser.add_argument("--identities", type=int, default=400)
    parser.add_argument("--cameras", type=int, default=24)
    parser.add_argument("--images-per-camera", type=int, default=1, help="images of a person under a camera")
    parser.add_argument("--size", default="64x32", metavar="HxW")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=96)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draws the people, trains, writes the weights and returns 0."""
    from ecul import runtime
    from ecul.commands.synth import parse_size
    from ecul.data.synthetic import pretraining_images
    from ecul.engine.pretrain import pretrain
    from ecul.errors import ConfigError
    from ecul.files import output_file
    from ecul.models.weights import save_weights

    numbers = ("identities", "cameras", "images_per_camera", "steps", "batch_size", "learning_rate")
    for name in numbers:
        if getattr(args, name) <= 0:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(args, name)}, expected more than 0")
    out = output_file(args.out)
    height, width = parse_size(args.size)
    device = runtime.pick_device(args.device)
    images, identity = pretraining_images(
        num_identities=args.identities,
        num_cameras=args.cameras,
        images_per_camera=args.images_per_camera,
        height=height,
        width=width,
        seed=args.seed,
    )
    log.info("%d images of %d people under %d cameras", len(images), args.identities, args.cameras)
    model = pretrain(
        images,
        identity,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        crop_padding=max(height // 16, 1),
        seed=args.seed,
        device=device,
    )
    description = {
        "backbone": "small",
        "height": height,
        "width": width,
        "pretraining": {n: getattr(args, n) for n in numbers},
    }
    save_weights(model, out, description=description | {"seed": args.seed})
    log.info("weights written to %s", out)
    return 0
