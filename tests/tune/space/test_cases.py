import optuna
import pytest

from ecul.errors import ConfigError
from tests.tune.conftest import base_of
from tune.config import load_sweep
from tune.space.build import build_space, check_corners
from tune.space.domains import Choice, Numeric
from tune.space.search_space import SHARE

READING, K1, K2, K3 = (f"clustering.united.{name}" for name in ("reading", "k1", "k2", "k3"))
GROUPS, WINDOW = {READING: ["groups"]}, {READING: ["window"]}
SPACE = {
    READING: {"categorical": ["groups", "window"]},
    K1: {"cases": [{"int": [4, 12], "when": GROUPS}, {"int": [30, 50], "when": WINDOW}]},
    K2: {"cases": [{"int": [2, 8], "when": GROUPS}, {"int": [4, 30], "when": WINDOW}]},
    K3: {"cases": [{"int": [2, 20], "when": GROUPS}, {"int": [16, 24], "when": WINDOW}]},
}


@pytest.fixture
def space(make_bare_sweep):
    sweep = make_bare_sweep(space=SPACE, fidelity="full")
    base = base_of(sweep)
    space = build_space(sweep, base)
    check_corners(space, base)
    return space


def test_each_reading_draws_from_its_own_ranges_and_keeps_the_constraint(space):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.sample(study.ask()) for _ in range(200)]
    for values in drawn:
        window = values[READING] == "window"
        assert (30 <= values[K1] <= 50) if window else (4 <= values[K1] <= 12)
        assert (16 <= values[K3] <= 24) if window else (2 <= values[K3] <= 20)
        assert values[K3] >= values[K2]
    assert {values[READING] for values in drawn} == {"groups", "window"}
    # the constraint bounds each case by its own partner: 24 is the window's largest k3, and so its largest k2
    assert max(values[K2] for values in drawn) in range(9, 25)
    assert space.domains[f"{K2}@case2"] == Numeric(4, 24, integer=True)
    assert space.domains[f"{K2}@case1"] == Numeric(2, 8, integer=True)


@pytest.mark.parametrize(
    "values", [{READING: "groups", K1: 6, K2: 3, K3: 9}, {READING: "window", K1: 40, K2: 16, K3: 20}]
)
def test_a_point_is_drawn_again_from_its_parameters(space, values):
    encoded = space.encode(values)
    number = 1 if values[READING] == "groups" else 2
    assert set(encoded) == {READING, f"{K1}@case{number}", f"{K2}@case{number}", f"{K3}@case{number}{SHARE}"}
    study = optuna.create_study()
    study.enqueue_trial(encoded)
    assert space.sample(study.ask()) == values


def test_a_value_of_the_other_case_is_outside(space):
    with pytest.raises(ConfigError, match="k1=40 is outside"):
        space.encode({READING: "groups", K1: 40, K2: 3, K3: 9})


def test_pictures_see_one_axis_a_path_and_the_study_one_domain_a_trial(space):
    assert space.paths[K1] == Numeric(4, 50, integer=True)
    assert space.paths[READING] == Choice(("groups", "window"))
    assert list(space.paths) == [READING, K1, K2, K3]
    assert space.domain_of(K1, {READING: "window"}) == Numeric(30, 50, integer=True)
    assert space.domain_of(K1, {}) is None


def test_cases_are_read_back_from_the_sweeps_file(make_bare_sweep, tmp_path):
    sweep = make_bare_sweep(space=SPACE, fidelity="full")
    again = load_sweep(tmp_path / "sweep.yaml").updated({"trials": sweep.trials})
    assert again == sweep


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({"cases": [{"int": [2, 4], "when": GROUPS}, {"int": [5, 6], "when": GROUPS}]}, "two of its cases hold"),
        ({"cases": [{"int": [2, 4], "when": GROUPS}, {"int": [5, 6]}]}, "each of the cases needs its own `when`"),
        ({"cases": [{"int": [2, 4], "when": GROUPS}]}, "at least 2 items"),
        ({"cases": [{"int": [2, 4], "when": GROUPS}, {"categorical": [5], "when": WINDOW}]}, "all numbers or all cat"),
        ({"cases": [{"int": [2, 4], "when": GROUPS}, {"int": [2, 4], "when": WINDOW}], "int": [1, 2]}, "exactly one"),
    ],
)
def test_cases_that_do_not_exclude_each_other_are_refused(make_bare_sweep, domain, message):
    space = {READING: SPACE[READING], K2: domain}

    def build():
        sweep = make_bare_sweep(space=space, constraints=[], fidelity="full")
        build_space(sweep, base_of(sweep))

    with pytest.raises(ConfigError, match=message):
        build()
