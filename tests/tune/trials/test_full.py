from types import SimpleNamespace

import pytest
import ray

from cluster.config import parse_cluster_config
from tune.trials import full


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
    settings = full.FullSettings(
        base=tiny_config(), cluster=cluster, storage="/runs", tracker="none", objectives=("validation_map",)
    )
    assert full.start_training(tiny_config(), "00000", settings) == "reference"
    variables = recorder.options_given["runtime_env"]["env_vars"]
    assert variables["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert variables["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "0.7"
    assert variables["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "33"
    assert recorder.options_given["scheduling_strategy"].node_id == "0" * 56
    assert recorder.arguments[1] == "00000"
