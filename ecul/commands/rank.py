"""`ecul rank`: retrieval metrics of any distance matrix."""

import argparse
import json
from pathlib import Path
from typing import get_args

from ecul.names import LayoutName


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the `rank` sub-command."""
    parser = subparsers.add_parser(
        "rank",
        help="CMC, mAP and mINP of a distance matrix",
        description="Prints one JSON object: cmc (list, Rank-1 first), map and minp, all in [0, 1], over the queries "
        "with a match in the gallery; the numbers of queries, of those without_match, and of those decided_by_ties: "
        "where a match and another image are equally far, the expected value over their orders counts.",
        epilog="RANKING.npz holds distance (Q, G; small = near), query_id, gallery_id, query_camera and gallery_camera "
        "(regdb needs no cameras; llcm prefers llcm_query_camera to query_camera where it is there).",
    )
    parser.add_argument("ranking", type=Path, metavar="RANKING.npz")
    parser.add_argument("--protocol", required=True, choices=get_args(LayoutName), help="whose rules count")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ranks and prints.

    Raises:
        DataError: a file that cannot be read, or arrays that are missing, misshapen or NaN.
    """
    from ecul.evaluation.archive import read_ranking
    from ecul.evaluation.ranking import evaluate_ranking

    metrics = evaluate_ranking(**read_ranking(args.ranking, rule=args.protocol), rule=args.protocol)
    figures = {"cmc": metrics["cmc"].tolist(), "map": metrics["map"], "minp": metrics["minp"]}
    figures |= {"queries": metrics["num_queries"], "without_match": metrics["num_unmatched"]}
    print(json.dumps(figures | {"decided_by_ties": metrics["num_tied"]}))
    return 0
