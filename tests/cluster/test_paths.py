import pytest

from cluster.paths import SHIPPED_WEIGHTS, check_storage_stays, with_absolute_paths
from ecul.config import Config
from ecul.errors import ConfigError
from ecul.models.weights import SHIPPED
from ecul.schema import setting_paths

SMALL = {"backbone": "small", "weights": "none"}


def test_each_path_is_resolved_where_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = {"data": {"root": "data"}, "model": {**SMALL, "weights": "own.safetensors"}, "warm_start": "stage1"}
    config = with_absolute_paths(Config.model_validate(tree))
    assert config.data.root == str(tmp_path / "data")
    assert config.warm_start == str(tmp_path / "stage1")
    assert config.model.weights == str(tmp_path / "own.safetensors")
    # from now on the working directory does not matter
    monkeypatch.chdir("/")
    assert with_absolute_paths(config) == config


@pytest.mark.parametrize("weights", ["none", "synthetic"])
def test_names_of_shipped_weights_and_missing_paths_stay(weights):
    config = Config.model_validate({"data": {"root": "/data"}, "model": {**SMALL, "weights": weights}})
    assert with_absolute_paths(config) == config


def test_every_shipped_name_and_every_setting_that_may_hold_a_path_is_known():
    assert {*SHIPPED, "imagenet", "none"} == set(SHIPPED_WEIGHTS)
    # a new setting of this kind belongs into `with_absolute_paths`
    endings = ("root", "weights", "warm_start", "path", "folder", "_file", "_dir")
    found = {path for path in setting_paths(Config) if path.endswith(endings)}
    assert found == {"data.root", "model.weights", "warm_start"}


def test_a_storage_that_ray_would_remove_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "session_1" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0"
    package.mkdir(parents=True)
    check_storage_stays("runs")
    monkeypatch.chdir(package)
    with pytest.raises(ConfigError, match="lies in the job's working directory"):
        check_storage_stays("runs")
    check_storage_stays(str(tmp_path))
    check_storage_stays("s3://bucket/runs")
