"""`ecul bench`: timings, `cluster` for the clustering engine and `train` for the training loop."""

import argparse

from ecul.commands import bench_cluster, bench_train


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `ecul bench cluster` and `ecul bench train`."""
    parser = subparsers.add_parser("bench", help="where the time goes")
    parts = parser.add_subparsers(dest="bench", required=True, metavar="PART")
    bench_cluster.add_parser(parts)
    bench_train.add_parser(parts)
