from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from ecul.clustering.pipeline import cluster_epoch
from ecul.engine.checkpoints import LocalStore
from ecul.engine.fit import fit
from ecul.engine.run_directory import RunDirectory
from ecul.errors import ConfigError, DataError
from tests.tune.conftest import simulated_bank
from tune import features
from tune.trials.bank import load_bank, save_bank
from tune.trials.held_out import check_warm_start, trained_without_validation_people


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(
        {"data.hold_out_validation": True, "evaluation.split": "validation", "stages.united": 0, "stages.intra": 1}
    )
    fit(
        config,
        clustering_fn=partial(cluster_epoch, num_threads=1),
        reporter=RunDirectory(folder),
        store=LocalStore(folder),
    )
    return folder


@pytest.fixture(scope="module")
def greedy_run(tiny_config, run, tmp_path_factory):
    """Trained on everybody, from the run that was not."""
    folder = tmp_path_factory.mktemp("greedy")
    config = tiny_config({"stages.united": 0, "stages.intra": 2})
    fit(
        config,
        clustering_fn=partial(cluster_epoch, num_threads=1),
        reporter=RunDirectory(folder),
        store=LocalStore(folder),
    )
    return folder


def test_a_bank_reads_back_alike(tmp_path):
    bank, other = simulated_bank(), simulated_bank(seed=5)
    bank = replace(bank, source=other.validation, source_identity=other.identity)
    save_bank(bank, tmp_path / "bank.npz")
    again = load_bank(tmp_path / "bank.npz")
    assert np.array_equal(again.train.features, bank.train.features)
    assert np.array_equal(again.identity, bank.identity)
    assert np.array_equal(again.source.features, bank.source.features)
    assert np.array_equal(again.source_identity, bank.source_identity)
    assert again.facts == bank.facts
    assert [path.name for path in tmp_path.iterdir()] == ["bank.npz"]


def test_what_is_no_bank_is_refused(tmp_path):
    with pytest.raises(DataError, match="no feature bank"):
        load_bank(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="not a feature bank"):
        load_bank(tmp_path / "text.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(DataError, match="expected a feature bank"):
        load_bank(tmp_path / "array.npy")
    bank = simulated_bank()
    np.savez(
        tmp_path / "long.npz", features=2 * bank.train.features, modality=bank.train.modality, camera=bank.train.camera
    )
    with pytest.raises(DataError, match="norm"):
        load_bank(tmp_path / "long.npz")


def test_the_command_saves_the_features_of_a_run(run, tmp_path):
    assert features.main([str(run), "--out", str(tmp_path / "bank.npz")]) == 0
    bank = load_bank(tmp_path / "bank.npz")
    assert bank.validation is not None
    assert bank.facts["epoch"] == 1
    # nobody's identity is stored for the training images
    with np.load(tmp_path / "bank.npz") as stored:
        assert [name for name in stored.files if "identity" in name] == ["validation_identity"]


def test_people_of_another_data_set_go_through_the_same_network(run, tiny_config, tmp_path):
    root = tiny_config().data.root
    assert features.main([str(run), "--source", root, "--out", str(tmp_path / "bank.npz")]) == 0
    bank = load_bank(tmp_path / "bank.npz")
    # here the same data set, of which the source has all training people, the held-out ones too
    assert len(bank.source) == len(bank.train) + len(bank.validation) == len(bank.source_identity)
    rows = np.isin(bank.source_identity, bank.identity)
    np.testing.assert_allclose(bank.source.features[rows], bank.validation.features, atol=1e-5)
    assert features.main([str(run), "--source", str(tmp_path / "none"), "--out", str(tmp_path / "b.npz")]) == 2


def test_part_of_the_source_people_is_refused(tmp_path):
    bank = simulated_bank().train
    arrays = {"features": bank.features, "modality": bank.modality, "camera": bank.camera}
    np.savez(tmp_path / "part.npz", **arrays, source_features=bank.features)
    with pytest.raises(DataError, match="source_features but not all of"):
        load_bank(tmp_path / "part.npz")


def test_the_command_saves_the_features_of_starting_weights(run, tiny_config, tmp_path):
    import yaml

    from ecul.settings import config_tree

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config_tree(tiny_config())))
    assert features.main(["--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "bank.npz")]) == 0
    assert load_bank(tmp_path / "bank.npz").facts["epoch"] == 0
    assert load_bank(tmp_path / "bank.npz").validation is not None


def test_people_that_were_trained_on_are_no_validation_people(greedy_run, tmp_path, caplog):
    assert (
        features.main([str(greedy_run), "--set", "data.hold_out_validation=true", "--out", str(tmp_path / "b.npz")])
        == 0
    )
    assert load_bank(tmp_path / "b.npz").validation is None
    assert "trained on all people" in caplog.text


def test_a_warm_start_from_a_run_that_saw_the_people_is_refused(run, greedy_run, tiny_config, tmp_path):
    check_warm_start(str(run))
    with pytest.raises(ConfigError, match="was trained on the validation people"):
        check_warm_start(str(greedy_run))
    changes = {"data.hold_out_validation": True, "stages.intra": 3, "stages.united": 0, "warm_start": str(greedy_run)}
    later = tiny_config(changes)
    fit(
        later,
        clustering_fn=partial(cluster_epoch, num_threads=1),
        reporter=RunDirectory(tmp_path),
        store=LocalStore(tmp_path),
    )
    assert not trained_without_validation_people(tmp_path)


def test_run_and_config_exclude_each_other(capsys):
    assert features.main(["--out", "x.npz"]) == 2
    assert "give a RUN" in capsys.readouterr().err
