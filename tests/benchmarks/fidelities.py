"""How well cheap scores rank full trainings: short trainings of random settings, and the table of rank correlations.

    python -m tests.benchmarks.fidelities FOLDER [--settings 24] [--table]

trains what FOLDER lacks (some 80 seconds of one core each), one after the other; it may be stopped and started again.
`--table` only prints. The settings vary what a clustering of saved features sees, and the moves, switch epochs and
losses that only a training sees. The learning rate stays, as no cheap fidelity could see it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.data.synthetic import synthesize
from ecul.engine.checkpoints import LocalStore, network_of, open_run
from ecul.engine.evaluator import Evaluator
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory, read_records
from ecul.engine.session import open_data
from ecul.files import write_atomically
from ecul.settings import load_config, updated
from tune.config import SweepConfig
from tune.objectives import LABEL_FREE, SOURCE, VALIDATION_FEATURES, recorded_metrics
from tune.ranks import spearman, spearman_interval
from tune.space.build import build_space
from tune.text import table
from tune.trials.bank import TuningBank, embed_run, load_bank, save_bank
from tune.trials.features import score_bank
from tune.trials.settings import trial_config

BASE = Path(__file__).parents[2] / "configs" / "synthetic.yaml"
SHORT = {
    "stages.intra": 2,
    "stages.united": 5,
    "stages.iterations": 20,
    "optim.learning_rate": 3e-3,
    "optim.warmup_epochs": 1,
    "optim.decay_epochs": 4,
    "clustering.num_threads": 1,
    "clustering.united.schedule.eps.epochs": 3,
    "memory.intra.switch_epoch": 2,
    "memory.united.switch_epoch": 6,
    "data.hold_out_validation": True,
    "data.decode_threads": 1,
    "evaluation.every": 1,
    "evaluation.split": "validation",
    "runtime.report": False,
    "runtime.device": "cpu",
}
SPACE = {
    "clustering.united.k1": {"int": [4, 24], "log": True},
    "clustering.united.k2": {"int": [2, 12], "log": True},
    "clustering.united.k3": {"int": [4, 32], "log": True},
    "clustering.united.eps": {"float": [0.3, 0.65]},
    "clustering.united.schedule.eps.first": {"float": [0.25, 0.65]},
    "clustering.united.min_samples": {"int": [2, 6]},
    "clustering.intra.eps": {"float": [0.35, 0.65]},
    "clustering.intra.k1": {"int": [5, 20], "log": True},
    "memory.intra.switch_epoch": {"epochs": "all"},
    "memory.united.switch_epoch": {"epochs": "united"},
    "loss.united_weight": {"float": [0.25, 2.0], "log": True},
    "loss.instance_weight": {"float": [0.0, 1.0]},
    "loss.temperature": {"float": [0.03, 0.08], "log": True},
}
Scores = Mapping[str, Any]
"""Of one training: its settings, epoch records and test metrics."""


def main(argv: Sequence[str] | None = None) -> int:
    """Trains, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--settings", type=int, default=24, metavar="N", help="the first one is the base")
    parser.add_argument("--table", action="store_true", help="train nothing")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    base = load_config(str(BASE), [f"data.root={args.folder / 'data'}"])
    base = updated(base, SHORT)
    points = draw_points(base, args.settings)
    if not args.table:
        train_missing(args.folder, base, points)
    found = {number: json.loads(file.read_text()) for number, file in score_files(args.folder, len(points)).items()}
    if not found:
        print("no training has ended yet")
        return 1
    banks = {name: score_points(args.folder, base, points, name) for name in ("start", "stage1")}
    print(correlations(found, banks))
    return 0


def draw_points(base: Config, count: int) -> list[dict[str, Any]]:
    """Returns the base's own point, {}, and random ones; the same for every count."""
    sweep = SweepConfig.model_validate(
        {
            "base": str(BASE),
            "fidelity": "full",
            "space": SPACE,
            "constraints": ["clustering.united.k3 >= clustering.united.k2"],
            "objectives": {"full": [{"metric": "validation_map"}]},
        }
    )
    space = build_space(sweep, base)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [{}, *(space.sample(study.ask()) for _ in range(count - 1))]


def train_missing(folder: Path, base: Config, points: Sequence[Mapping[str, Any]]) -> None:
    """Trains the points without scores, the data first."""
    for name, people, seed in (("data", 100, 0), ("source", 40, 7)):
        if not (folder / name).exists():
            print(f"drawing {name}", file=sys.stderr)
            sized = {"layout": "sysu", "height": base.data.height, "width": base.data.width, "seed": seed}
            synthesize(folder / name, num_identities=people, **sized)
    present = score_files(folder, len(points))
    for number, point in enumerate(points):
        if number in present:
            continue
        config = trial_config(base, point)
        run = folder / "runs" / f"{number:02d}"
        train(config, run)
        scores = {"values": point, "records": [*read_records(run)], "test": test_metrics(config, run)}
        write_atomically(folder / "scores" / f"{number:02d}.json", json.dumps(scores))
        print(f"{number}: test mAP {scores['test']['evaluation/map']:.3f}", file=sys.stderr)


def train(config: Config, run: Path) -> None:
    """Trains a run to its end; one that was cut off goes on."""
    clustering = partial(cluster_epoch, num_threads=1)
    fit(config, clustering_fn=clustering, reporter=RunDirectory(run), store=LocalStore(run, keep=1))


def test_metrics(config: Config, run: Path) -> dict[str, float]:
    """Returns the metrics of the last checkpoint on the test people."""
    _, checkpoint = open_run(run)
    test = updated(config, {"evaluation.split": "test"})
    return Evaluator(test, open_data(test), torch.device("cpu")).evaluate(network_of(test, checkpoint))[1]


def score_files(folder: Path, count: int) -> dict[int, Path]:
    """Returns the files of the points that have scores, by number."""
    files = {number: folder / "scores" / f"{number:02d}.json" for number in range(count)}
    return {number: file for number, file in files.items() if file.is_file()}


def score_points(folder: Path, base: Config, points: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, float]]:
    """Returns the metrics of the `features` fidelity of every point, over the features of `start` or `stage1`."""
    bank = bank_of(folder, base, name)
    configs = [trial_config(base, point) for point in points]
    return [score_bank(bank, config, draws=10, intra=True, num_threads=1) for config in configs]


def bank_of(folder: Path, base: Config, name: str) -> TuningBank:
    """Returns a bank with source people; it is made if it is missing."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        config, checkpoint = base, None
        if name == "stage1":
            config = updated(base, {"stages.united": 0})
            train(config, folder / "runs" / name)
            _, checkpoint = open_run(folder / "runs" / name)
        save_bank(embed_run(config, checkpoint=checkpoint, held_out=True, source=str(folder / "source")), path)
    return load_bank(path)


def correlations(found: Mapping[int, Scores], banks: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Returns the table: each signal against the final validation and test mAP, as Markdown."""
    finals = {"validation": final("evaluation/map"), "test": lambda scores: scores["test"]["evaluation/map"]}
    signals: dict[str, Callable[[int, Scores], float]] = {
        "final validation mAP": lambda _, scores: finals["validation"](scores)
    }
    for epoch in range(len(next(iter(found.values()))["records"]) - 1):
        signals[f"validation mAP after epoch {epoch}"] = lambda _, scores, e=epoch: scores["records"][e][
            "evaluation/map"
        ]
    for name in LABEL_FREE:
        signals[f"{name}, last epoch"] = lambda _, scores, n=name: recorded_metrics(scores["records"][-1])[n]
    for bank, metrics in banks.items():
        for name in (*VALIDATION_FEATURES, *SOURCE, *LABEL_FREE):
            signals[f"{name}, features of {bank}"] = lambda number, _, m=metrics, n=name: m[number][n]
    rows = []
    for name, signal in signals.items():
        values = np.array([signal(number, scores) for number, scores in found.items()])
        cells = []
        for value in finals.values():
            correlation = spearman(values, np.array([value(scores) for scores in found.values()]))
            cells.append("{:+.2f} [{:+.2f}, {:+.2f}]".format(correlation, *spearman_interval(correlation, len(found))))
        rows.append([name, *cells])
    return table([f"{len(found)} trainings", *(f"{name} mAP" for name in finals)], rows)


def final(metric: str) -> Callable[[Scores], float]:
    """Returns a function that reads a metric of the last epoch."""
    return lambda scores: scores["records"][-1][metric]


if __name__ == "__main__":
    sys.exit(main())
