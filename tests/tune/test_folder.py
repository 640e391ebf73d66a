import pytest

from ecul.errors import ConfigError
from tune.folder import locked, read_sweep


def test_a_sweep_is_run_by_one_process_at_a_time(tmp_path):
    with locked(tmp_path), pytest.raises(ConfigError, match="run by another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no sweep .* is missing"):
        read_sweep(tmp_path)
