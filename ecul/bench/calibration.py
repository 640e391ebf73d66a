"""Whether a benchmark can tell methods apart: what guessing, pixels, no labels, some labels and all labels reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecul import runtime
from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine.checkpoints import LocalStore
from ecul.engine.evaluator import Evaluator
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory, read_records, read_result, wall_seconds
from ecul.engine.session import build_network, image_store, open_data
from ecul.evaluation.evaluate import chance_level, evaluate
from ecul.files import locked
from ecul.settings import config_digest, load_config, updated
from ecul.types import LabelledIndex

TRAINED: Mapping[str, str] = {
    "supervised": "oracle-all",
    "intra": "intra-only",
    "method": "base",
    "united": "oracle-united",
}
"""{row: file of configs/ablation}: what is trained for the table, in this order."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        name: of the line.
        rank1: in [0, 1].
        mean_average_precision: in [0, 1].
        seconds: of the training; 0 where nothing was trained.
    """

    name: str
    rank1: float
    mean_average_precision: float
    seconds: float = 0.0


@dataclass(frozen=True)
class Target:
    """What a calibrated benchmark fulfils.

    Attributes:
        text: what is asked for.
        value: what was found.
        holds: whether it is fulfilled.
    """

    text: str
    value: float
    holds: bool


def untrained_rows(config: Config) -> list[Row]:
    """Returns the lines of chance, raw pixels, random weights and starting weights, by the run's first protocol.

    Raises:
        DataError: the dataset cannot be used.
    """
    dataset = open_data(config)
    runtime.make_deterministic(config.seed)
    device = runtime.pick_device(config.runtime.device)
    evaluator = Evaluator(config, dataset, device)
    protocol = evaluator.protocols[0]
    index = dataset.validation if config.evaluation.split == "validation" else dataset.test
    assert index is not None  # the evaluator would have refused it
    rule = config.evaluation.gallery_rule
    chance = chance_level(index, protocol=protocol, gallery_rule=rule)
    rows = [Row(name="chance", rank1=chance["rank1"], mean_average_precision=chance["map"])]
    pixels = raw_pixels(config, index)
    rows.append(_row("raw pixels", evaluate(pixels, index, protocol=protocol, gallery_rule=rule).summary()))
    weights = {"random weights": "none", "starting weights": config.model.weights}
    for name, source in weights.items():
        model = build_network(updated(config, {"model.weights": source})).to(device)
        metrics = evaluator.evaluate(model)[1]
        rows.append(_row(name, {key: metrics[f"evaluation/{key}"] for key in ("rank1", "map")}))
    return rows


def raw_pixels(config: Config, index: LabelledIndex) -> NDArray[np.float32]:
    """Returns images as unit vectors, float32 (N, 3 H W), whose products are correlations of their pixels."""
    store = image_store(config, index.samples.paths)
    flat = store.get(np.arange(len(index))).numpy().reshape(len(index), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-6)


def trained_row(name: str, config: Config, runs: Path) -> Row:
    """Returns the line of a training, which is run unless it is complete; a stopped one continues.

    Args:
        name: of the line.
        config: of the training.
        runs: folder of the trainings. A run's own follows from its configuration.
    """
    folder = runs / f"{name}-{config_digest(config)}"
    with locked(folder, what="run"):
        if read_result(folder) is None:
            fit(
                config,
                clustering_fn=partial(cluster_epoch, num_threads=config.clustering.num_threads),
                reporter=RunDirectory(folder),
                store=LocalStore(folder, keep=1),
            )
        result = read_result(folder)
    assert result is not None
    seconds = sum(map(wall_seconds, read_records(folder)))
    return _row(name, next(iter(result["protocols"].values()))["mean"], seconds)


def targets(rows: Mapping[str, Row]) -> list[Target]:
    """Returns what a calibrated benchmark fulfils, by the lines of the table."""
    chance, supervised, intra, united = (rows[name] for name in ("chance", "supervised", "intra", "united"))
    share = intra.rank1 / supervised.rank1
    gain = united.mean_average_precision / intra.mean_average_precision
    most = max(rows[name].mean_average_precision for name in ("raw pixels", "random weights"))
    above = most / chance.mean_average_precision
    return [
        Target("pixels and random weights: mAP at most 2 x chance", above, above <= 2),
        Target("supervised: Rank-1 at least .85", supervised.rank1, supervised.rank1 >= 0.85),
        Target("intra: Rank-1 .4 to .7 of supervised", share, 0.4 <= share <= 0.7),
        Target("true united labels: mAP at least 1.5 x intra", gain, gain >= 1.5),
    ]


def ablation_config(folder: Path, row: str, overrides: list[str]) -> Config:
    """Returns the configuration of a trained line.

    Raises:
        ConfigError: its file cannot be used.
    """
    return load_config(folder / f"{TRAINED[row]}.yaml", overrides)


def _row(name: str, summary: Mapping[str, float], seconds: float = 0.0) -> Row:
    return Row(name=name, rank1=summary["rank1"], mean_average_precision=summary["map"], seconds=seconds)
