from pathlib import Path

import pytest

from ecul.errors import ConfigError
from tune import compare, results, run
from tune.folder import read_sweep, sweep_folder


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no sweep .* is missing"):
        read_sweep(tmp_path)


def test_a_sweeps_folder_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sweep_folder("runs", "a") == tmp_path / "runs" / "a"
    assert sweep_folder("~/runs", "a") == Path.home() / "runs" / "a"


@pytest.mark.parametrize("name", ["..", "a/b", "a:b"])
def test_names_that_are_no_folders_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="a name has up to"):
        sweep_folder(str(tmp_path), name)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (run.main, ["--config", "configs/tune/emcc.yaml"]),
        (run.main, ["--resume", "x"]),
        (results.main, ["x"]),
        (compare.main, ["x"]),
    ],
)
def test_object_stores_are_refused_by_every_command_and_make_no_folder(
    command, arguments, tmp_path, monkeypatch, capsys
):
    sweep = str(Path("configs/tune/emcc.yaml").absolute())
    monkeypatch.chdir(tmp_path)
    given = [sweep if argument.endswith(".yaml") else argument for argument in arguments]
    assert command([*given, "--storage", "s3://bucket/tune"]) == 2
    error = capsys.readouterr().err
    assert "needs a file system" in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_sweep_inside_a_jobs_working_directory_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "working_dir_files" / "_ray_pkg_0"
    package.mkdir(parents=True)
    monkeypatch.chdir(package)
    with pytest.raises(ConfigError, match="lies in the job's working directory"):
        sweep_folder("runs/tune", "a")
