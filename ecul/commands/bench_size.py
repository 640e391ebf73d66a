"""`ecul bench size`: the parts of a run at the size of its real dataset, and an epoch's expected time on GPUs."""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul bench size`."""
    parser = subparsers.add_parser(
        "size",
        help="seconds and memory of each part at the dataset's real size; expected epochs on GPUs",
        description="Reads and checks the dataset, decodes its training images, embeds a slice of them, clusters "
        "simulated embeddings of its people and cameras, and ranks random ones. Nothing is trained or written.",
        epilog="The estimate: operations of the passes over the speed of the GPUs, plus the clustering as measured "
        "here (ecul/bench/real_size.py).",
    )
    parser.add_argument("--config", required=True, metavar="FILE")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--slice", type=int, default=512, help="images to embed; default: 512")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 4, 8], help="default: 1 4 8")
    parser.add_argument(
        "--sustained-tflops",
        type=float,
        default=50.0,
        help="what one GPU reaches in the network, in TFLOP/s; default: 50, a sixth of an A100's peak in bfloat16",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints each part when it is measured, then the estimates.

    Raises:
        ConfigError: a number that is too small.
    """
    from ecul.bench.real_size import estimate_epoch, flops_of_an_image, measure_parts
    from ecul.errors import ConfigError
    from ecul.settings import load_config

    if args.slice < 1 or min(args.gpus) < 1 or args.sustained_tflops <= 0:
        raise ConfigError("--slice, --gpus and --sustained-tflops must be positive")
    config = load_config(args.config, args.set)
    write = sys.stdout.write
    write(f"{'part':<28}{'images':>9}{'seconds':>10}{'processor s':>13}{'peak MiB':>10}\n")
    parts = {}
    for part in measure_parts(config, slice_images=args.slice):
        parts[part.name] = part
        write(
            f"{part.name:<28}{part.count or '':>9}{part.seconds:10.2f}{part.cpu_seconds:13.2f}{part.peak_mib:10.0f}\n"
        )
        sys.stdout.flush()
    flops = flops_of_an_image(config)
    extract = parts["extract"]
    write(f"one image: {flops / 1e9:.2f} GFLOP forward; here {2 * extract.count / extract.seconds:.1f} passes/s\n")
    write(f"{'GPUs':<6}{'extract':>10}{'cluster':>10}{'train':>10}{'epoch s':>10}  (expected)\n")
    for num_gpus in args.gpus:
        expected = estimate_epoch(
            config,
            num_images=parts["cluster"].count,
            flops=flops,
            cluster_seconds=parts["cluster"].seconds,
            num_gpus=num_gpus,
            sustained_tflops=args.sustained_tflops,
        )
        times = (expected.extract, expected.cluster, expected.train, expected.epoch)
        write(f"{num_gpus:<6}" + "".join(f"{value:10.2f}" for value in times) + "\n")
    return 0
