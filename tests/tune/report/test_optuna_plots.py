"""Optuna's pictures of sweeps over one, two and more settings."""

from pathlib import Path

import optuna
import pytest

from tests.tune.report.conftest import SCORE
from tune.report.analysis import analyse
from tune.report.optuna_plots import draw_optuna
from tune.space.domains import Numeric
from tune.space.search_space import SearchSpace

PATHS = ("clustering.united.eps", "optim.learning_rate", "clustering.united.k2", "clustering.united.k3")


@pytest.mark.parametrize("num_paths", [1, 2, 3, 4])
def test_each_number_of_settings_is_drawn(num_paths: int, tmp_path: Path):
    space = SearchSpace({path: Numeric(0.1, 0.9) for path in PATHS[:num_paths]}, {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), direction="maximize")
    for _ in range(5):
        trial = study.ask()
        values = space.sample(trial)
        trial.set_user_attr("values", values)
        trial.set_user_attr("metrics", {"validation_map": values[PATHS[0]]})
        study.tell(trial, values[PATHS[0]])
    names = {path.stem for path in draw_optuna(study, analyse(study, space, [SCORE]), space, tmp_path)}
    always = {"optuna-edf", "optuna-timeline"}
    assert names == (always if num_paths == 1 else always | {"optuna-contour", "optuna-rank"})
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in names)
