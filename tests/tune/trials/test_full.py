import json
from types import SimpleNamespace

import pytest
import ray

from cluster.config import parse_cluster_config
from cluster.tracking.interface import TrackerSettings
from ecul.errors import TrainingError
from tune.trials import full
from tune.trials.result import is_finished
from tune.trials.training import TrainingSettings, start_training


class Recorder:
    """Stands for `ray.remote(function)`: keeps the options of the task."""

    def __init__(self):
        self.options_given = {}
        self.arguments = ()

    def options(self, **options):
        self.options_given = options
        return self

    def remote(self, *arguments):
        self.arguments = arguments
        return "reference"


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    context = SimpleNamespace(gcs_address="10.0.0.1:6379", get_node_id=lambda: "0" * 56)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "remote", lambda function: recorder)
    return recorder


def test_a_trials_training_gets_the_settings_of_its_cluster_file_and_stays_with_the_trial(recorder, tiny_config):
    cluster = parse_cluster_config({"health_check_interval_s": 0.7, "start_timeout_s": 33})
    settings = TrainingSettings(cluster=cluster, storage="/runs", tracker=TrackerSettings())
    assert start_training(tiny_config(), "00000", settings) == "reference"
    variables = recorder.options_given["runtime_env"]["env_vars"]
    assert variables["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert variables["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "0.7"
    assert variables["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "33"
    assert recorder.options_given["scheduling_strategy"].node_id == "0" * 56
    assert recorder.arguments[1] == "00000"


@pytest.fixture
def trial(tmp_path, monkeypatch, tiny_config):
    """A trial whose training records one epoch and does not end; its hours are over at once."""
    cancelled = []
    monkeypatch.setattr(ray, "wait", lambda references, timeout: ([], references))
    monkeypatch.setattr(ray, "cancel", lambda reference, recursive: cancelled.append(reference))
    monkeypatch.setattr(full, "start_training", lambda config, key, settings: "work")
    settings = full.FullSettings(
        training=TrainingSettings(cluster=parse_cluster_config({}), storage=str(tmp_path), tracker=TrackerSettings()),
        base=tiny_config(),
        objectives=("validation_map",),
        trial_hours=1e-9,
    )
    trial = full.FullTrial.__new__(full.FullTrial)
    trial.setup({"values": {}, "key": "00000"}, settings)
    return trial, tmp_path / "00000" / "metrics.jsonl", cancelled


def test_a_trial_over_its_time_ends_with_its_last_evaluated_epoch(trial):
    trial, metrics, cancelled = trial
    metrics.parent.mkdir()
    metrics.write_text(json.dumps({"epoch": 1, "evaluation/map": 0.25}) + "\n")
    first = trial.step()
    assert (first["done"], first["metrics"]["validation_map"]) == (False, 0.25)
    assert trial.step() == first | {"done": True}
    assert not is_finished(first)  # so the study calls it stopped early
    assert cancelled == ["work"]


def test_a_trial_over_its_time_without_an_epoch_has_failed(trial):
    with pytest.raises(TrainingError, match=r"full.trial_hours=1e-09 are over before an epoch was evaluated"):
        trial[0].step()
