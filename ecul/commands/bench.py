"""`ecul bench`: timings, `cluster` the clustering engine, `train` the training loop, `size` a real dataset."""

import argparse

from ecul.commands import bench_cluster, bench_size, bench_train


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `ecul bench cluster`, `train` and `size`."""
    parser = subparsers.add_parser("bench", help="where the time goes")
    parts = parser.add_subparsers(dest="bench", required=True, metavar="PART")
    bench_cluster.add_parser(parts)
    bench_train.add_parser(parts)
    bench_size.add_parser(parts)
