"""Which runs a repetition has."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cluster.names import checked_name
from ecul.config import Config
from ecul.errors import ConfigError
from ecul.settings import config_tree
from tune.trials.grid import RepeatedRun, make_runs, parse_over


@pytest.fixture
def files(tiny_config: Callable[..., Config], tmp_path: Path) -> list[Path]:
    base, other = tmp_path / "base.yaml", tmp_path / "other.yaml"
    base.write_text(yaml.safe_dump(config_tree(tiny_config())))
    other.write_text("base: base.yaml\nloss: {instance_weight: 0}\n")
    return [base, other]


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("seed=0..2", "seed", (0, 1, 2)),
        ("data.trial=7..7", "data.trial", (7,)),
        ("seed=[5, 3]", "seed", (5, 3)),
        ("loss.instance_weight=0.5", "loss.instance_weight", (0.5,)),
    ],
)
def test_values_are_spans_lists_or_one_value(text: str, path: str, values: tuple):
    assert parse_over(text) == (path, values)


@pytest.mark.parametrize("text", ["seed=2..0", "seed=[]", "seed=[1, 1]", "seed", "seed=0..99999"])
def test_no_values_are_refused(text: str):
    with pytest.raises(ConfigError, match=r"seed"):
        parse_over(text)


def test_every_configuration_runs_with_every_combination_pairs_together(files: list[Path]):
    runs = make_runs(files, {"data.trial": (1, 2), "seed": (0, 1, 2)}, ["stages.united=1"])
    assert [run.key for run in runs[:3]] == ["000-base-trial1-seed0", "001-other-trial1-seed0", "002-base-trial1-seed1"]
    assert len({run.key for run in runs}) == len(runs) == 12
    assert all(checked_name(run.key) for run in runs)
    last = runs[-1].config
    assert (last.data.trial, last.seed, last.loss.instance_weight, last.stages.united) == (2, 2, 0, 1)
    assert Path(last.data.root).is_absolute()
    assert [RepeatedRun.of(run.tree()) for run in runs] == runs


@pytest.mark.parametrize(
    ("over", "overrides", "message"),
    [
        ({"data.trial": (10, 11)}, [], "data.trial"),
        ({"sed": (1,)}, [], "did you mean seed"),
        ({"seed": (1,)}, ["seed=2"], "seed is in --over and in --set"),
        ({"oracle": ("all",)}, [], "trains on true labels"),
    ],
)
def test_what_a_run_would_refuse_is_refused_before_the_first_one(files, over, overrides, message):
    with pytest.raises(ConfigError, match=message):
        make_runs(files, over, overrides)


def test_two_files_of_one_name_are_refused(files: list[Path], tmp_path: Path):
    (tmp_path / "below").mkdir()
    same = tmp_path / "below" / "base.yaml"
    same.write_text("base: ../base.yaml\n")
    with pytest.raises(ConfigError, match="same name"):
        make_runs([files[0], same], {"seed": (0,)}, [])
