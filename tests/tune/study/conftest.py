"""A study, and a search over it without Ray."""

import pytest
from ray.tune.utils import flatten_dict

from tune.config import SamplerConfig
from tune.space.domains import Constraint, Numeric
from tune.space.search_space import SearchSpace
from tune.study.search import StudySearch
from tune.study.store import count_drawn, make_sampler, open_study
from tune.trials.result import trial_result

SPACE = SearchSpace(
    {"clustering.united.k2": Numeric(2, 8, integer=True), "clustering.united.k3": Numeric(2, 20, integer=True)},
    {},
    (Constraint("clustering.united.k3", "clustering.united.k2"),),
)
POINT = {"clustering.united.k2": 3, "clustering.united.k3": 9}


@pytest.fixture
def study(tmp_path):
    return open_study(tmp_path, "journal", "sweep", ["max"])


def searcher(study, **options):
    study.sampler = make_sampler(SamplerConfig(startup=2), num_drawn=count_drawn(study))
    return StudySearch(SPACE, study, ["score"], **options)


def result(score, *, finished=True, **more):
    """As Ray Tune flattens it."""
    return flatten_dict(trial_result({"score": score}, finished=finished)) | {"time_total_s": 1.5, **more}
