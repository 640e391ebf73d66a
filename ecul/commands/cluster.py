"""`ecul cluster`: pseudo-labels of any features."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import get_args

from ecul.parameters import ClusteringParameters, Preset

_PARAMETERS = [field.name for field in fields(ClusteringParameters) if field.name != "preset"]

_CURVE = ("eps", "clusters", "cross_modality_share", "noise_share", "largest_share", "stability", "silhouette")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the `cluster` sub-command."""
    parser = subparsers.add_parser(
        "cluster",
        help="pseudo-labels of any features",
        description="Clusters features and prints diagnostics of the result; with identities, its quality too.",
        epilog="FEATURES.npz holds features (N, D), modality (N: 0 visible, 1 infrared), camera (N) and, if known, "
        f"identity (N). Parameters for --set, as the preset has them: {', '.join(_PARAMETERS)}. docs/configuration.md "
        "says what they mean (clustering.united).",
    )
    parser.add_argument("features", type=Path, metavar="FEATURES.npz")
    parser.add_argument("--preset", default="emcc", choices=get_args(Preset), help="the distance (default: emcc)")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="replaces a number of the preset"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="LABELS.npz", help="labels (N), -1 is noise")
    parser.add_argument(
        "--graph-out", type=Path, metavar="GRAPH.npz", help="sparse distances up to eps, for scipy.sparse.load_npz"
    )
    parser.add_argument(
        "--eps-curve", type=float, nargs="+", metavar="EPS", help="also print what each of these eps would give"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads to use (default: all processors)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reads, clusters, writes, prints.

    Raises:
        DataError: a file that cannot be read or written, or arrays that cannot be clustered.
        ConfigError: a parameter that the preset does not have, or a value out of range.
    """
    from ecul.clustering.files import read_features, write_graph, write_labels
    from ecul.clustering.pipeline import cluster, eps_curve
    from ecul.errors import ConfigError
    from ecul.evaluation.cluster_quality import label_quality
    from ecul.files import output_file
    from ecul.schema import parse_assignments
    from ecul.settings import clustering_parameters

    if args.threads is not None and args.threads < 1:
        raise ConfigError(f"--threads is {args.threads}, expected at least 1")
    for eps in args.eps_curve or ():
        if not 0 < eps < 1:
            raise ConfigError(f"--eps-curve holds {eps:g}, expected numbers above 0 and below 1")
    for option, path in (("--out", args.out), ("--graph-out", args.graph_out)):
        if path is not None:
            output_file(path, option=option)
    parameters = clustering_parameters(args.preset, parse_assignments(args.set))
    bank, identity = read_features(args.features)
    result = cluster(bank, parameters, num_threads=args.threads)
    write_labels(args.out, result.labels)
    if args.graph_out is not None:
        write_graph(args.graph_out, result.graph)
    metrics = dict(result.diagnostics)
    if identity is not None:
        quality = label_quality(result.labels, identity, bank.modality)
        metrics |= {f"quality/{name}": value for name, value in quality.items()}
    for name, value in metrics.items():
        print(f"{name:<28}{value:.6g}")
    if args.eps_curve:
        print("\n" + "".join(f"{name:>22}" for name in _CURVE))
        for point in eps_curve(bank, parameters, args.eps_curve, num_threads=args.threads):
            print("".join(f"{point[name]:>22.6g}" for name in _CURVE))
    return 0
