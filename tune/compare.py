"""`python -m tune.compare`: whether a sweep's best point beats its base configuration with other seeds."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ecul.console import Parser, run_command
from tune.folder import STORAGE, read_sweep, sweep_folder
from tune.roles import role_of
from tune.text import table, values_text

if TYPE_CHECKING:
    from ecul.config import Config

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = Parser(
        prog="python -m tune.compare",
        description="Train the base configuration and a sweep's best point with several seeds, both scored on the "
        "validation people. Runs that are complete already are not repeated.",
    )
    parser.add_argument("name", metavar="NAME", help="of the sweep")
    parser.add_argument("--storage", default=STORAGE, metavar="FOLDER", help="of all sweeps")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="SEED", help="default: 1 2 3")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, prints and writes the comparison and returns the exit code: 0 good, 2 bad input, 130 interrupted."""
    args = build_parser().parse_args(argv)
    return run_command("tune.compare", lambda: _compare(sweep_folder(args.storage, args.name), args.seeds))


def _compare(folder: Path, seeds: Sequence[int]) -> int:
    from ecul.files import write_atomically
    from tune.space.build import build_space, from_first_epoch
    from tune.study.store import best_values
    from tune.trials.settings import base_config, original_config, trial_config

    sweep = read_sweep(folder)
    base = base_config(original_config(sweep), warm_start=sweep.full.warm_start)
    values = from_first_epoch(best_values(folder, 1)[0], build_space(sweep, base), base)
    scores: dict[str, list[float]] = {"base": [], "best": []}
    for seed in seeds:
        runs = folder / "compare" / f"seed-{seed}"
        start = _shared_start(base, values, seed, runs)
        for name, changes in (("base", {}), ("best", values)):
            config = trial_config(base, {**changes, "seed": seed, "warm_start": start})
            scores[name].append(score_of(config, run_folder(runs, name, config)))
    text = f"{comparison_text(scores, seeds)}\nThe best point: {values_text(values)}\n"
    write_atomically(folder / "report" / "compare.md", text)
    sys.stdout.write(text)
    return 0


def comparison_text(scores: Mapping[str, Sequence[float]], seeds: Sequence[int]) -> str:
    """Returns the scores of `base` and `best` by seed, and their paired difference, as Markdown."""
    rows = [[name, *(f"{score:.4f}" for score in values), _spread(values)] for name, values in scores.items()]
    differences = [best - base for base, best in zip(scores["base"], scores["best"], strict=True)]
    rows.append(["difference", *(f"{value:+.4f}" for value in differences), _spread(differences)])
    text = table(["validation_map", *(f"seed {seed}" for seed in seeds), "mean ± std"], rows)
    better = sum(value > 0 for value in differences)
    return f"{text}\n\nThe best point of the sweep is ahead with {better} of {len(seeds)} seeds.\n"


def acts_only_in_stage_two(path: str) -> bool:
    """Returns whether a setting changes nothing before stage 2."""
    return role_of(path).first_stage == 2


def _shared_start(base: "Config", values: Mapping[str, Any], seed: int, runs: Path) -> str | None:
    """A stage-1 run that both begin from, or None where the best point changes what stage 1 does."""
    from tune.trials.settings import trial_config

    if base.stages.first("united") == 1 or not base.stages.united or not all(map(acts_only_in_stage_two, values)):
        return None
    config = trial_config(base, {"seed": seed, "stages.united": 0, "warm_start": None})
    run = run_folder(runs, "stage1", config)
    score_of(config, run)
    return str(run)


def run_folder(runs: Path, name: str, config: "Config") -> Path:
    """Returns the folder of a run. It follows from the whole configuration, so that no other run can be taken for it.

    Args:
        runs: folder of the seed's runs.
        name: what the run is.
        config: of the run. A shared start is in it (`warm_start`), by a folder that follows from its own.
    """
    from ecul.settings import config_digest

    return runs / f"{name}-{config_digest(config)}"


def score_of(config: "Config", run: Path) -> float:
    """Returns the last epoch's validation mAP of a run, which is trained unless it is complete already.

    Args:
        config: of the run.
        run: its folder, of `run_folder`.
    """
    from ecul.clustering.pipeline import cluster_epoch
    from ecul.engine.checkpoints import LocalStore
    from ecul.engine.fit import fit
    from ecul.engine.run_directory import RunDirectory, read_result
    from ecul.files import locked

    result = read_result(run)
    if result is None:
        with locked(run, what="run"):
            fit(
                config,
                clustering_fn=partial(cluster_epoch, num_threads=config.clustering.num_threads),
                reporter=RunDirectory(run),
                store=LocalStore(run, keep=1),
            )
        result = read_result(run)
    assert result is not None  # fit wrote it
    # the first protocol is the layout's main one, which epochs report as evaluation/map
    return float(next(iter(result["protocols"].values()))["mean"]["map"])


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"


if __name__ == "__main__":
    sys.exit(main())
