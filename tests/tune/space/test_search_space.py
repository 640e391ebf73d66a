import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from ecul.errors import ConfigError
from tune.config import SamplerConfig
from tune.space.domains import Choice, Constraint, Numeric
from tune.space.search_space import SHARE, SearchSpace
from tune.study.store import make_sampler

K2, K3, EPS, PRESET = (
    "clustering.united.k2",
    "clustering.united.k3",
    "clustering.united.eps",
    "clustering.united.preset",
)
BOTH = SearchSpace({K2: Numeric(2, 16, integer=True), K3: Numeric(4, 40, integer=True)}, {}, (Constraint(K3, K2),))


@pytest.mark.parametrize("name", ["tpe", "cmaes", "qmc", "random"])
def test_no_sample_of_any_sampler_breaks_a_constraint(name):
    sampler = make_sampler(SamplerConfig(name=name, startup=5))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for _ in range(40):
        trial = study.ask()
        values = BOTH.sample(trial)
        assert values[K3] >= values[K2]
        assert 4 <= values[K3] <= 40
        assert BOTH.sample(FixedTrial(trial.params)) == values
        study.tell(trial, -abs(values[K3] - 10.0) - values[K2])
    # fixed domains: the sampler sees both parameters together
    assert set(optuna.search_space.intersection_search_space(study.trials)) == {K2, K3 + SHARE}


@given(k2=st.integers(2, 16), k3=st.integers(4, 40))
def test_points_are_encoded_into_what_samples_read(k2, k3):
    point = {K2: k2, K3: k3}
    if k3 < k2:
        with pytest.raises(ConfigError, match="outside"):
            BOTH.encode(point)
    else:
        assert BOTH.sample(FixedTrial(BOTH.encode(point))) == point


def test_strict_constraints_leave_a_gap():
    space = SearchSpace(
        {K2: Numeric(2, 5, integer=True), K3: Numeric(2, 6, integer=True)}, {}, (Constraint(K3, K2, strict=True),)
    )
    points = space.grid()
    assert all(point[K3] > point[K2] for point in points)
    assert len(points) == 4 + 3 + 2 + 1


def test_conditional_paths_exist_only_with_their_parent():
    space = SearchSpace(
        {PRESET: Choice(("emcc", "kreciprocal")), K3: Numeric(4, 5, integer=True)}, {K3: {PRESET: ("emcc",)}}
    )
    assert space.grid() == [
        {PRESET: "emcc", K3: 4},
        {PRESET: "emcc", K3: 5},
        {PRESET: "kreciprocal"},
    ]
    assert space.encode({PRESET: "kreciprocal", K3: 4}) == {PRESET: "kreciprocal"}


def test_corners_hold_the_extremes_and_keep_constraints():
    corners = list(BOTH.corners(num_inside=10))
    assert {K2: 2, K3: 4} in corners
    assert {K2: 16, K3: 40} in corners
    assert {K2: 16, K3: 16} in corners
    assert all(corner[K3] >= corner[K2] for corner in corners)


def test_too_many_corners_are_sampled():
    space = SearchSpace({f"p{number}": Numeric(0, 1) for number in range(20)}, {})
    assert sum(1 for _ in space.corners(num_inside=0)) < math.pow(2, 20)


def test_a_part_of_a_space_keeps_its_own_constraints():
    part = BOTH.only(lambda path: path == K2)
    assert list(part.domains) == [K2]
    assert part.constraints == ()
