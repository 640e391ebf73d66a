from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine import fit as fit_module
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory, read_records
from ecul.engine.session import open_data
from ecul.errors import ConfigError, TrainingError
from ecul.types import ClusteringRequest, ClusteringResult, FeatureBank
from tests.ecul.engine.fit_ranks import fit_in_ranks

Build = Callable[..., Config]


def train(config: Config, folder: Path, clustering_fn: object = None) -> dict[str, torch.Tensor]:
    """Trains into a run directory and returns the final weights."""
    store = LocalStore(folder)
    fit(
        config,
        clustering_fn=clustering_fn or partial(cluster_epoch, num_threads=1),
        reporter=RunDirectory(folder),
        store=store,
    )
    return (store.load() or {})["model"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def undisturbed(tiny_config: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, train(tiny_config(), folder)


THREE_STAGES: dict[str, object] = {
    "stages": {"intra": 1, "blend": 2, "united": 2, "iterations": 2},
    "memory": {
        "intra": {"switch_epoch": 2, "first_initial": "random", "second_rule": "random", "second_momentum": 0.0},
        "united": {"switch_epoch": 5},
        "united_means": "plain",
        "instances": {"second_rule": "random", "second_momentum": 0.0, "filled": "stage"},
        "blend": {"from_stage": "blend"},
    },
    "batch": {"batch_size": 8, "instances": 2, "united": "own_unpaired"},
    "loss": {"united_weight": 0.35, "instance_weight": 0.0, "bank": {"intra_weight": 1.0, "united_weight": 0.7}},
}


class StopAfter(RunDirectory):
    """Dies when an epoch is reported, as a crash would between two epochs."""

    def __init__(self, path: Path, epoch: int) -> None:
        super().__init__(path)
        self._last = epoch

    def epoch(self, record: dict[str, float]) -> None:
        super().epoch(record)
        if record["epoch"] > self._last:
            raise RuntimeError("stopped")


@pytest.mark.parametrize("epoch", [1, 2])
def test_stopped_and_resumed_equals_uninterrupted(
    tiny_config: Build, undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path, epoch: int
):
    config, store = tiny_config(), LocalStore(tmp_path)
    with pytest.raises(RuntimeError, match="stopped"):
        fit(
            config,
            clustering_fn=partial(cluster_epoch, num_threads=1),
            reporter=StopAfter(tmp_path, epoch),
            store=store,
        )
    assert (store.load() or {})["epoch"] == epoch
    assert_same(train(config, tmp_path), undisturbed[1])
    whole, resumed = read_records(undisturbed[0]), read_records(tmp_path)
    assert [record["epoch"] for record in resumed] == [record["epoch"] for record in whole]
    assert [r["loss/total"] for r in resumed] == [r["loss/total"] for r in whole]


def test_three_stages_with_all_parts_are_resumed_as_if_they_had_not_stopped(tiny_config: Build, tmp_path: Path):
    config = tiny_config(THREE_STAGES)
    whole = train(config, tmp_path / "whole")
    records = read_records(tmp_path / "whole")
    assert [record["stage"] for record in records] == [1, 1.5, 1.5, 2, 2]
    assert ["blend/visible_rows" in record for record in records] == [False, True, True, True, True]
    assert all("loss/bank_intra" in record for record in records)
    assert ["loss/bank_united" in record for record in records] == [False] * 3 + [True] * 2
    run = tmp_path / "stopped"
    # epoch 2 is inside a stage, whose instance memory goes on into the next epoch
    with pytest.raises(RuntimeError, match="stopped"):
        fit(
            config,
            clustering_fn=partial(cluster_epoch, num_threads=1),
            reporter=StopAfter(run, 2),
            store=LocalStore(run),
        )
    assert_same(train(config, run), whole)


def test_three_stages_with_all_parts_do_not_depend_on_the_number_of_ranks(tiny_config: Build, tmp_path: Path):
    config = tiny_config({**THREE_STAGES, "model.batch_norm": "frozen"})
    fit_in_ranks(config, tmp_path / "two", num_ranks=2)
    train(config, tmp_path / "one")
    for one, two in zip(read_records(tmp_path / "one"), read_records(tmp_path / "two"), strict=True):
        assert set(one) <= set(two)
        for name in one:
            if name.startswith(("loss/", "blend/", "evaluation/")) or name.endswith("/clusters"):
                assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-4), (one["epoch"], name)


def test_shuffled_identities_leave_the_run_bit_identical(
    tiny_config: Build,
    undisturbed: tuple[Path, dict[str, torch.Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def shuffled(config: Config):
        dataset = open_data(config)
        identity = np.random.default_rng(0).permutation(dataset.train.identity)
        return replace(dataset, train=replace(dataset.train, identity=identity))

    monkeypatch.setattr(fit_module, "open_data", shuffled)
    assert_same(train(tiny_config(), tmp_path), undisturbed[1])


def test_the_run_directory_explains_itself(undisturbed: tuple[Path, dict[str, torch.Tensor]]):
    names = {path.name for path in undisturbed[0].iterdir()}
    assert {"run.json", "metrics.jsonl", "checkpoints", "result.json"} <= names
    records = read_records(undisturbed[0])
    assert [record["stage"] for record in records] == [1, 2, 2]
    assert {"loss/intra_visible", "loss/intra_infrared", "visible/clusters"} <= records[0].keys()
    assert "evaluation/map" in records[-1]


def test_another_seed_gives_another_run(
    tiny_config: Build, undisturbed: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path
):
    other = train(tiny_config({"seed": 1}), tmp_path)
    assert any(not torch.equal(other[name], undisturbed[1][name]) for name in other)


def test_a_warm_start_goes_on_after_stage_1(tiny_config: Build, tmp_path: Path):
    first = train(tiny_config({"stages.united": 0}), tmp_path / "stage1")
    warm = tiny_config({"warm_start": str(tmp_path / "stage1")})
    fresh = train(tiny_config(), tmp_path / "fresh")
    assert_same(train(warm, tmp_path / "warm"), fresh)
    assert [record["epoch"] for record in read_records(tmp_path / "warm")] == [2, 3]
    assert any(not torch.equal(first[name], fresh[name]) for name in first)
    late = tiny_config({"warm_start": str(tmp_path / "fresh"), "stages.united": 3})
    with pytest.raises(ConfigError, match="expected at most 1"):
        train(late, tmp_path / "late")


def all_noise_from(epoch: int) -> Callable[[FeatureBank, ClusteringRequest], ClusteringResult]:
    """Clusters until an epoch, then finds nothing."""
    calls = 0

    def cluster(bank: FeatureBank, request: ClusteringRequest) -> ClusteringResult:
        nonlocal calls
        calls += 1
        if calls < epoch:
            return cluster_epoch(bank, request)
        return ClusteringResult(np.full(len(bank), -1, np.int32), 0, 0)

    return cluster


def test_an_epoch_without_clusters_keeps_the_last_labels(tiny_config: Build, tmp_path: Path):
    train(tiny_config(), tmp_path, all_noise_from(2))
    records = read_records(tmp_path)
    assert [record["fallbacks"] for record in records] == [0, 1, 2]
    assert "labels of the last usable epoch are kept" in (tmp_path / "warnings.log").read_text()


def test_a_first_epoch_without_clusters_stops_with_advice(tiny_config: Build, tmp_path: Path):
    with pytest.raises(TrainingError, match="0 visible, 0 infrared clusters"):
        train(tiny_config(), tmp_path, all_noise_from(1))


def test_without_united_clusters_an_epoch_stays_with_the_intra_terms(tiny_config: Build, tmp_path: Path):
    train(tiny_config({"clustering.united.eps": 0.001, "clustering.united.min_samples": 50}), tmp_path)
    records = read_records(tmp_path)
    assert records[-1]["fallbacks"] == 2
    assert "loss/united" not in records[-1]


def test_a_non_finite_loss_stops_before_the_optimizer_moves(tiny_config: Build, tmp_path: Path):
    with pytest.raises(TrainingError, match=r"epoch 1, step \d: the loss is"):
        train(tiny_config({"optim.learning_rate": 1e30}), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_stage_0_trains_without_labels(tiny_config: Build, tmp_path: Path):
    train(tiny_config({"stages.bootstrap": 1, "stages.intra": 0, "stages.united": 0}), tmp_path)
    assert read_records(tmp_path)[0]["loss/bootstrap_visible"] > 0
