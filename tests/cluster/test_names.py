import pytest

from cluster import train
from cluster.names import checked_name
from ecul.errors import ConfigError

BAD = ["", ".", "..", "a/b", "a:b", "run #3", "it's", "-x", ".hidden", "é", "a\n", "x" * 81]


@pytest.mark.parametrize("name", ["sysu", "20261125-134825", "a.b_c-d", "7", "x" * 80])
def test_folders_and_wandb_take_these_names(name):
    assert checked_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match=r"--name .*: a name has up to 80 letters"):
        checked_name(name)


@pytest.mark.parametrize("name", ["..", "run #3"])
def test_a_run_of_such_a_name_is_refused_before_ray_starts(name, tmp_path, capsys):
    arguments = ["--config", "configs/smoke.yaml", "--cpu", "--name", name, "--storage", str(tmp_path / "runs")]
    assert train.main(arguments) == 2
    assert "a name has up to 80 letters" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
