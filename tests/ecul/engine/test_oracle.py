"""True labels reach a run only where an ablation's file asks for them, and every record says so."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from ecul.cli import main
from ecul.clustering.pipeline import cluster_epoch
from ecul.config import Config
from ecul.engine import fit as fit_module
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.oracle import completed, corrected, split_by_person
from ecul.engine.run_directory import RunDirectory, read_records
from ecul.engine.session import open_data
from ecul.errors import ConfigError
from ecul.settings import config_tree, load_config, updated
from ecul.types import ClusteringResult, LabelledIndex, SampleIndex
from tune.trials.held_out import check_warm_start

Build = Callable[..., Config]
IDENTITY = np.array([7, 7, 9, 9, 7, 9, 4], np.int32)
MODALITY = np.array([0, 0, 0, 0, 1, 1, 1], np.int32)
# one wrong link (image 2), one person in two clusters (7), one without a cluster (4)
UNITED = np.array([0, 1, 0, 2, 0, 2, -1], np.int32)
INDEX = LabelledIndex(SampleIndex(tuple("abcdefg"), MODALITY, 1 + 2 * MODALITY), IDENTITY)
PAIRS = np.array([[0, 4], [2, 4], [3, 5]], np.int32)


def found() -> ClusteringResult:
    return ClusteringResult(
        intra_label=np.array([0, 0, 0, 1, 0, 0, -1], np.int32),
        num_visible_clusters=2,
        num_infrared_clusters=1,
        united_label=UNITED,
        num_united_clusters=3,
        selected_pairs=PAIRS,
        diagnostics={"united/clusters": 3.0, "visible/clusters": 2.0},
    )


def test_wrong_links_are_removed_and_nothing_is_joined():
    assert split_by_person(UNITED, IDENTITY).tolist() == [0, 2, 1, 3, 0, 3, -1]


def test_completed_clusters_lack_nobody_and_keep_wrong_links():
    # cluster 0 is person 7's although it holds an image of 9; person 4 has no cluster and stays noise
    assert completed(UNITED, IDENTITY).tolist() == [0, 0, 0, 1, 0, 1, -1]
    # a noise image joins its person's cluster
    assert completed(np.array([0, 0, 1, 1, -1, -1, -1], np.int32), IDENTITY).tolist() == [0, 0, 1, 1, 0, 1, -1]


@pytest.mark.parametrize(
    ("oracle", "intra", "united", "pairs"),
    [
        ("intra", [0, 0, 1, 1, 1, 2, 0], UNITED.tolist(), PAIRS.tolist()),
        ("links", [0, 0, 0, 1, 0, 0, -1], [0, 2, 1, 3, 0, 3, -1], [[0, 4], [3, 5]]),
        ("completed", [0, 0, 0, 1, 0, 0, -1], [0, 0, 0, 1, 0, 1, -1], PAIRS.tolist()),
        ("united", [0, 0, 0, 1, 0, 0, -1], [1, 1, 2, 2, 1, 2, 0], [[0, 4], [3, 5]]),
        ("all", [0, 0, 1, 1, 1, 2, 0], [1, 1, 2, 2, 1, 2, 0], [[0, 4], [3, 5]]),
    ],
)
def test_each_oracle_tells_what_its_name_says_and_no_more(oracle, intra, united, pairs):
    told = corrected(found(), oracle, INDEX)
    assert told.intra_label.tolist() == intra
    assert told.united_label is not None
    assert told.united_label.tolist() == united
    assert told.selected_pairs is not None
    assert told.selected_pairs.tolist() == pairs
    assert told.num_united_clusters == max(united) + 1 == told.diagnostics["united/clusters"]
    assert (told.num_visible_clusters, told.num_infrared_clusters) == (max(intra[:4]) + 1, max(intra[4:]) + 1)
    # stage 1 has no united labels to correct
    stage_1 = replace(found(), united_label=None, num_united_clusters=0, selected_pairs=None)
    assert corrected(stage_1, oracle, INDEX).united_label is None


def ablation(folder: Path, config: Config, **changes: object) -> Path:
    """A file in configs/ablation of a folder."""
    path = folder / "configs" / "ablation" / "told.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config_tree(config) | changes))
    return path


def test_only_a_file_of_the_ablations_may_set_an_oracle(tiny_config: Build, tmp_path: Path):
    path = ablation(tmp_path, tiny_config(), oracle="united")
    assert load_config(path).oracle == "united"
    elsewhere = tmp_path / "run.yaml"
    elsewhere.write_text(path.read_text())
    inherited = tmp_path / "inherited.yaml"
    inherited.write_text(f"base: {path}\n")
    plain = tmp_path / "configs" / "ablation" / "plain.yaml"
    plain.write_text(yaml.safe_dump(config_tree(tiny_config())))
    for source, options in ((elsewhere, []), (inherited, []), (plain, ["oracle=all"]), (path, ["oracle=all"])):
        with pytest.raises(ConfigError, match=r"oracle=\w+ trains on true labels; only a file in configs/ablation/"):
            load_config(source, options)
    assert load_config(path, ["oracle=null"]).oracle is None


def test_the_command_refuses_it_in_one_line(tiny_config: Build, tmp_path: Path, capsys: pytest.CaptureFixture):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config_tree(tiny_config())))
    assert main(["train", "--config", str(path), "--set", "oracle=all", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "trains on true labels" in error
    assert "\n" not in error
    assert not (tmp_path / "run").exists()


def trained(config: Config, folder: Path) -> dict[str, torch.Tensor]:
    store = LocalStore(folder)
    fit(config, clustering_fn=cluster_epoch, reporter=RunDirectory(folder), store=store)
    return (store.load() or {})["model"]


@pytest.fixture(scope="module")
def told(tiny_config: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A stage-1 run with true labels."""
    folder = tmp_path_factory.mktemp("told")
    config = load_config(ablation(folder, tiny_config({"stages.united": 0}), oracle="all"))
    trained(config, folder / "run")
    return config, folder / "run"


def test_every_record_of_the_run_says_so(told: tuple[Config, Path], capsys: pytest.CaptureFixture, caplog):
    _, run = told
    for name in ("run.json", "result.json"):
        assert "trained on true labels" in json.loads((run / name).read_text())["oracle"]
    assert "trained on true labels" in (run / "warnings.log").read_text()
    assert all(record["oracle/all"] == 1 for record in read_records(run))
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", str(run / "again.json")]) == 0
    assert "oracle=all: trained on true labels" in capsys.readouterr().out
    assert "oracle" in json.loads((run / "again.json").read_text())
    with caplog.at_level(logging.INFO):
        RunDirectory(run).epoch({"epoch": 1.0, "stage": 1.0, "oracle/all": 1.0})
    assert "ORACLE all" in caplog.text
    (run / "metrics.jsonl").write_text("".join((run / "metrics.jsonl").read_text().splitlines(keepends=True)[:-1]))


def test_its_weights_reach_no_ordinary_run(told: tuple[Config, Path], tiny_config: Build, tmp_path: Path):
    _, run = told
    with pytest.raises(ConfigError, match="begin from another run"):
        trained(tiny_config({"warm_start": str(run)}), tmp_path / "warm")
    assert main(["export", str(run), "--out", str(tmp_path / "model.safetensors")]) == 2
    assert not (tmp_path / "model.safetensors").exists()
    with pytest.raises(ConfigError, match="no search may use it"):
        check_warm_start(str(run))


def test_an_oracle_reads_the_identities_and_an_ordinary_run_does_not(
    told: tuple[Config, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config, run = told
    before = (LocalStore(run).load() or {})["model"]
    real = open_data

    def shuffled(config: Config):
        dataset = real(config)
        identity = np.random.default_rng(0).permutation(dataset.train.identity)
        return replace(dataset, train=replace(dataset.train, identity=identity))

    monkeypatch.setattr(fit_module, "open_data", shuffled)
    other = trained(config, tmp_path / "shuffled")
    assert any(not torch.equal(before[name], other[name]) for name in before)
    ordinary = updated(config, {"oracle": None})
    shuffled_run = trained(ordinary, tmp_path / "ordinary-shuffled")
    monkeypatch.setattr(fit_module, "open_data", real)
    plain = trained(ordinary, tmp_path / "ordinary")
    assert all(torch.equal(plain[name], shuffled_run[name]) for name in plain)
