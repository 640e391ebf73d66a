"""A simulated feature bank, and a sweep over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml

from ecul.bench.simulate import WIDE_GAP, even_counts, modality_of_groups, simulate_bank
from ecul.config import Config
from ecul.settings import config_tree
from ecul.types import FeatureBank
from tune.config import SweepConfig, load_sweep
from tune.trials.bank import TuningBank, save_bank
from tune.trials.settings import base_config, original_config

optuna.logging.set_verbosity(optuna.logging.WARNING)


BASE = {
    "data": {"root": "nowhere", "height": 64, "width": 32},
    "model": {"backbone": "small", "weights": "none"},
    "stages": {"intra": 3, "united": 4},
    "clustering": {"united": {"k1": 8, "k2": 3, "k3": 9}},
    "memory": {"united": {"switch_epoch": 5}, "intra": {"switch_epoch": 2}},
}
SPACE = {
    "clustering.united.k2": {"int": [2, 16]},
    "clustering.united.k3": {"int": [4, 40]},
    "clustering.united.eps": {"float": [0.3, 0.7]},
    "memory.united.switch_epoch": {"epochs": "united"},
}


def sweep_tree(folder: Path, space: dict[str, Any]) -> dict[str, Any]:
    """The keys that every sweep of these tests has; `folder` holds its base.yaml."""
    return {
        "base": str(folder / "base.yaml"),
        "space": space,
        "constraints": ["clustering.united.k3 >= clustering.united.k2"],
        "objectives": {
            "features": [{"metric": "validation_cross_modality_f1"}],
            "full": [{"metric": "validation_map"}],
        },
    }


def base_of(sweep: SweepConfig) -> Config:
    return base_config(original_config(sweep), warm_start=sweep.full.warm_start)


def simulated_bank(*, people: int = 30, images: int = 12, held_out: int = 10, seed: int = 0) -> TuningBank:
    """People under four visible and two infrared cameras; the first `held_out` of them are for validation."""
    counts = even_counts(people * images, 6, images_per_identity=images)
    bank, identity = simulate_bank(counts, modality_of_groups(6), 32, seed=seed, strengths=WIDE_GAP)
    rows = identity < held_out

    def part(rows: np.ndarray) -> FeatureBank:
        return FeatureBank(bank.features[rows], bank.modality[rows], bank.camera[rows])

    return TuningBank(train=part(~rows), validation=part(rows), identity=identity[rows], facts={"dataset": "simulated"})


@pytest.fixture(scope="session")
def bank_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "bank.npz"
    save_bank(simulated_bank(), path)
    return path


@pytest.fixture
def make_bare_sweep(tmp_path: Path) -> Callable[..., SweepConfig]:
    """A function from changed keys to a sweep without data and bank: enough for its configuration and space."""
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))

    def build(**changes: Any) -> SweepConfig:
        tree = sweep_tree(tmp_path, SPACE) | changes
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tree))
        return load_sweep(tmp_path / "sweep.yaml")

    return build


@pytest.fixture
def make_sweep(tmp_path: Path, bank_file: Path, tiny_config: Callable[..., Config]) -> Callable[..., SweepConfig]:
    """A function from changed keys to a small sweep over the simulated bank."""
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(config_tree(tiny_config())))

    def build(**changes: Any) -> SweepConfig:
        tree = {
            "base": str(tmp_path / "base.yaml"),
            "space": {
                "clustering.united.k2": {"int": [2, 5]},
                "clustering.united.k3": {"int": [2, 9]},
                "clustering.united.eps": {"float": [0.3, 0.8]},
                "memory.united.switch_epoch": {"epochs": "united"},
            },
            "constraints": ["clustering.united.k3 >= clustering.united.k2"],
            "objectives": {
                "features": [{"metric": "validation_cross_modality_f1"}],
                "full": [{"metric": "validation_map"}],
            },
            "trials": 4,
            "features": {"bank": str(bank_file)},
        } | changes
        (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(tree))
        return load_sweep(tmp_path / "sweep.yaml")

    return build
