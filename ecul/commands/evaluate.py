"""`ecul evaluate`: retrieval quality of a run, a checkpoint or exported weights."""

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ecul.names import Device, GalleryRule

if TYPE_CHECKING:
    from ecul.config import Config

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the options of `ecul evaluate`."""
    parser = subparsers.add_parser("evaluate", help="Rank-1, mAP and mINP of a run's weights, every trial")
    parser.add_argument("source", metavar="RUN|CHECKPOINT", help="a run directory or a checkpoint file")
    parser.add_argument("--data", metavar="DIR", help="dataset folder (default: the one of the run)")
    parser.add_argument("--protocol", action="append", default=[], help="default: all of the layout; may be repeated")
    parser.add_argument("--split", choices=["test", "validation"], help="people to evaluate on (default: as the run)")
    parser.add_argument("--gallery-rule", choices=get_args(GalleryRule), help="SYSU-MM01's gallery draws")
    parser.add_argument("--trial", type=int, metavar="T", help="RegDB's trial; must be the one trained on")
    parser.add_argument("--device", choices=get_args(Device), default="auto")
    parser.add_argument("--json", metavar="FILE", help="also write mean, deviation and every trial as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluates and returns 0."""
    from ecul import runtime
    from ecul.engine.checkpoints import network_of, open_run
    from ecul.engine.evaluator import Evaluator
    from ecul.engine.interfaces import FitResult
    from ecul.engine.run_directory import result_tree, summary_table
    from ecul.engine.session import open_data
    from ecul.errors import ConfigError
    from ecul.evaluation.evaluate import tie_warnings
    from ecul.files import output_file, write_atomically
    from ecul.settings import oracle_warning, updated

    if args.json:
        output_file(args.json, option="--json")
    trained, checkpoint = open_run(args.source)
    if args.trial is not None and args.trial != trained.data.trial:
        raise ConfigError(
            f"the weights were trained on trial {trained.data.trial}, got --trial {args.trial}; other trials' test "
            "people are among their training people"
        )
    config = updated(trained, _changes(args, trained))
    device = runtime.pick_device(config.runtime.device)
    model = network_of(trained, checkpoint).to(device)
    results, metrics, gallery = Evaluator(config, open_data(config, option="--data DIR"), device).evaluate(model)
    sys.stdout.write(summary_table(results) + "\n")
    for message in tie_warnings(results):
        log.warning("%s", message)
    warning = oracle_warning(trained)
    if warning is not None:
        sys.stdout.write(warning + "\n")
    if args.json:
        result = FitResult(epoch=checkpoint["epoch"], retrieval=results, record=metrics, gallery=gallery)
        tree = ({} if warning is None else {"oracle": warning}) | result_tree(result)
        write_atomically(Path(args.json), json.dumps(tree, indent=2) + "\n")
    return 0


def _changes(args: argparse.Namespace, trained: "Config") -> dict[str, object]:
    """{path: value}: what the options change of the run's own configuration."""
    from ecul.data.dataset import detect_layout
    from ecul.data.layouts import find_layout

    changes: dict[str, object] = {"data.root": args.data, "runtime.device": args.device}
    changes |= {"evaluation.protocols": args.protocol, "evaluation.gallery_rule": args.gallery_rule}
    changes["evaluation.split"] = args.split
    changes = {path: value for path, value in changes.items() if value}
    if args.data:
        # other data may have another layout: what the run was told to measure counts only where it belongs to that
        layout = detect_layout(args.data)
        changes["data.layout"] = layout
        offered = find_layout(layout).protocols
        if not {protocol.name for protocol in offered}.issuperset(trained.evaluation.protocols):
            changes.setdefault("evaluation.protocols", [])
        if not any(protocol.official_galleries for protocol in offered):
            changes.setdefault("evaluation.gallery_rule", "community")
    return changes
