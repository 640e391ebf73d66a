"""`ecul bench`: timings of the clustering, of a training and of a real dataset's size; calibration of a benchmark."""

import argparse

from ecul.commands import bench_calibrate, bench_cluster, bench_size, bench_train


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `ecul bench calibrate`, `cluster`, `train` and `size`."""
    parser = subparsers.add_parser("bench", help="where the time goes, and what a benchmark can tell")
    parts = parser.add_subparsers(dest="bench", required=True, metavar="PART")
    bench_calibrate.add_parser(parts)
    bench_cluster.add_parser(parts)
    bench_train.add_parser(parts)
    bench_size.add_parser(parts)
