"""A study whose best setting is known."""

import optuna
import pytest

from tune.config import ObjectiveConfig
from tune.space.domains import Choice, Numeric
from tune.space.search_space import SearchSpace

SPACE = SearchSpace(
    {
        "clustering.united.preset": Choice(("emcc", "kreciprocal")),
        "clustering.united.k2": Numeric(2, 16, integer=True),
        "clustering.united.k3": Numeric(4, 40, integer=True),
        "clustering.united.eps": Numeric(0.3, 0.8),
    },
    {"clustering.united.k3": {"clustering.united.preset": ("emcc",)}},
)
SCORE, COST = ObjectiveConfig(metric="validation_map"), ObjectiveConfig(metric="clustering_seconds", mode="min")


@pytest.fixture(scope="session")
def study():
    """The score depends on eps alone; stability follows it, silhouette runs against it."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), directions=["maximize", "minimize"])
    for number in range(30):
        trial = study.ask()
        values = SPACE.sample(trial)
        score = 1 - abs(values["clustering.united.eps"] - 0.5)
        trial.set_user_attr("values", values)
        if number == 7:
            trial.set_user_attr("error", "ValueError: a broken trial")
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        metrics = {
            "validation_map": score,
            "clustering_seconds": float(values["clustering.united.k2"]),
            "stability": score**2,
            "silhouette": -score,
            "clustered_share": 1.0,
        }
        trial.set_user_attr("metrics", metrics)
        study.tell(trial, [score, metrics["clustering_seconds"]])
    return study
