"""`ecul export`: the weights of a run, for inference."""

import argparse
import logging
from pathlib import Path

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul export`."""
    parser = subparsers.add_parser(
        "export",
        help="the network of a run as one file, for inference",
        description="safetensors: weights and configuration, for `ecul embed`, `search`, `group` and model.weights. "
        "onnx (needs pip install 'ecul[onnx]'): a graph from `images` (uint8 RGB, batch x 3 x height x width) and "
        "`infrared` (bool, batch) to `embeddings`, checked with onnxruntime.",
    )
    parser.add_argument("source", metavar="RUN|CHECKPOINT")
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--format", choices=("safetensors", "onnx"), default="safetensors", help="default: safetensors")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the file and returns 0."""
    from ecul.engine.checkpoints import network_of, open_run
    from ecul.errors import ConfigError
    from ecul.files import output_file
    from ecul.models.weights import save_weights
    from ecul.settings import config_tree, oracle_warning

    output_file(args.out)
    config, checkpoint = open_run(args.source)
    if config.oracle is not None:
        raise ConfigError(f"{args.source}: {oracle_warning(config)}; its weights are not exported")
    if args.format == "onnx":
        from ecul.engine.onnx_export import export_onnx

        size = {"height": config.data.height, "width": config.data.width}
        difference = export_onnx(network_of(config, checkpoint), Path(args.out), **size)
        log.info("epoch %d written to %s; onnxruntime agrees within %.1g", checkpoint["epoch"], args.out, difference)
        return 0
    description = {
        "backbone": config.model.backbone,
        "non_local": config.model.non_local,
        "height": config.data.height,
        "width": config.data.width,
        "epoch": checkpoint["epoch"],
        "config": config_tree(config),
    }
    save_weights(network_of(config, checkpoint), Path(args.out), description=description)
    log.info("epoch %d written to %s", checkpoint["epoch"], args.out)
    return 0
