import pytest

from ecul.errors import ConfigError
from tests.tune.conftest import SPACE, base_of
from tune.space.build import build_space, check_corners, default_values, from_first_epoch
from tune.trials.settings import trial_config


def space_of(sweep):
    """As `make_plan` makes and checks it."""
    base = base_of(sweep)
    space = build_space(sweep, base)
    check_corners(space, base)
    return space


def test_features_search_what_clustering_feels_and_full_searches_all(make_bare_sweep):
    assert set(space_of(make_bare_sweep()).domains) == {
        "clustering.united.k2",
        "clustering.united.k3",
        "clustering.united.eps",
    }
    assert set(space_of(make_bare_sweep(fidelity="full")).domains) == set(SPACE)


def test_the_base_is_the_first_point(make_bare_sweep):
    sweep = make_bare_sweep(fidelity="full")
    base = base_of(sweep)
    point = default_values(build_space(sweep, base), base)
    assert point == {
        "clustering.united.k2": 3,
        "clustering.united.k3": 9,
        "clustering.united.eps": 0.6,
        "memory.united.switch_epoch": 5,
    }


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"clustering.united.k22": {"int": [2, 4]}},
            "unknown path clustering.united.k22; did you mean clustering.united.k2",
        ),
        ({"clustering.united.eps": {"float": [0.3, 1.2]}}, "refuses: clustering.united.eps"),
        ({"clustering.united.k2": {"int": [2, 16]}}, "k3 .9. must be at least k2 .16.*add a constraint"),
        ({"evaluation.split": {"categorical": ["test"]}}, "cannot be searched"),
        ({"warm_start": {"categorical": ["a"]}}, "cannot be searched"),
        (
            {"clustering.united.eps_start": {"float": [0.3, 0.5]}},
            "eps_start is now clustering.united.schedule.eps.first",
        ),
        (
            {"clustering.united.k3": {"int": [9, 12], "when": {"clustering.united.preset": ["emcc"]}}},
            "not in the space",
        ),
        ({"loss.temperature": {"float": [0.01, 1]}}, "no such path; use full"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_any_trial(make_bare_sweep, space, message):
    with pytest.raises(ConfigError, match=message):
        space_of(make_bare_sweep(space=space, constraints=[]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"constraints": ["clustering.united.k3 ~ clustering.united.k2"]}, "PATH >= PATH"),
        ({"constraints": ["clustering.united.k2 >= clustering.united.k9"]}, "unknown path"),
        ({"constraints": ["clustering.united.k3 >= clustering.united.preset"]}, "neither a number"),
        (
            {
                "constraints": [
                    "clustering.united.k3 >= clustering.united.k2",
                    "clustering.united.k2 >= clustering.united.k3",
                ]
            },
            "go in a circle",
        ),
        ({"constraints": ["clustering.united.eps >= clustering.united.k2"]}, "cannot hold"),
    ],
)
def test_impossible_constraints_are_refused(make_bare_sweep, changes, message):
    with pytest.raises(ConfigError, match=message):
        space_of(make_bare_sweep(**changes))


def test_schedules_can_be_searched_and_constraints_hold_in_every_epoch(make_bare_sweep):
    united = "clustering.united"
    ranges = {f"{united}.{path}": {"int": [2, 30]} for path in ("k2", "k3", "schedule.k2.first", "schedule.k3.first")}
    moves = {
        f"{united}.schedule.eps.first": {"float": [0.5, 0.7]},
        f"{united}.schedule.eps.turn": {"float": [0.2, 0.4]},
        f"{united}.schedule.eps.shape": {"categorical": ["linear", "geometric"]},
        "clustering.intra.schedule.intra.eps.first": {"float": [0.5, 0.7]},
    }
    constraints = [f"{united}.k3 >= {united}.k2", f"{united}.schedule.k3.first >= {united}.schedule.k2.first"]
    sweep = make_bare_sweep(fidelity="full", space=ranges | moves, constraints=constraints)
    space, base = space_of(sweep), base_of(sweep)
    for values in space.corners(num_inside=20):
        config = trial_config(base, values).clustering.united
        assert all(config.at(epoch).k3 >= config.at(epoch).k2 for epoch in range(1, 23))


def test_ranges_that_do_not_fit_in_some_epoch_are_refused_before_any_trial(make_bare_sweep):
    space = {"clustering.united.schedule.k2.first": {"int": [2, 16]}}
    with pytest.raises(ConfigError, match=r"epoch 1 of the stage: k3 .9. must be at least k2 .16.*add a constraint"):
        space_of(make_bare_sweep(fidelity="full", space=space, constraints=[]))


def test_a_constraint_on_a_fixed_number_cuts_the_domain(make_bare_sweep):
    space = space_of(make_bare_sweep(space={"clustering.united.k2": {"int": [2, 16]}}))
    assert space.domains["clustering.united.k2"].high == 9
    assert not space.constraints


def test_switch_epochs_span_the_epochs_that_differ(make_bare_sweep):
    space = space_of(
        make_bare_sweep(
            fidelity="full",
            space={"memory.united.switch_epoch": {"epochs": "all"}, "memory.intra.switch_epoch": {"epochs": "all"}},
        )
    )
    united, intra = (space.domains[f"memory.{name}.switch_epoch"] for name in ("united", "intra"))
    assert (united.low, united.high) == (4, 8)
    assert (intra.low, intra.high) == (1, 8)


def test_a_warm_start_leaves_no_epoch_to_search_before_it(make_bare_sweep):
    warm = {"warm_start": "runs/stage1"}
    space = space_of(
        make_bare_sweep(fidelity="full", full=warm, space={"memory.intra.switch_epoch": {"epochs": "all"}})
    )
    assert space.domains["memory.intra.switch_epoch"].low == 4
    with pytest.raises(ConfigError, match=r"without effect; its range here is \[4, 8\]"):
        space_of(make_bare_sweep(fidelity="full", full=warm, space={"memory.intra.switch_epoch": {"int": [2, 6]}}))


def test_presets_can_be_searched_with_conditional_ranges(make_bare_sweep):
    space = space_of(
        make_bare_sweep(
            space={
                "clustering.united.preset": {"categorical": ["emcc", "camera_aware"]},
                "clustering.united.k2": {"int": [2, 8], "when": {"clustering.united.preset": ["emcc"]}},
                "clustering.united.k3": {"int": [4, 20], "when": {"clustering.united.preset": ["emcc"]}},
                "clustering.united.k1_inter": {"int": [5, 20], "when": {"clustering.united.preset": ["camera_aware"]}},
            }
        )
    )
    for values in space.corners():
        assert ("clustering.united.k1_inter" in values) == (values["clustering.united.preset"] == "camera_aware")


def test_a_switch_before_the_warm_start_is_tried_as_its_first_epoch_and_left_alone_in_presets(make_bare_sweep):
    sweep = make_bare_sweep(
        fidelity="full", full={"warm_start": "runs/stage1"}, space={"memory.intra.switch_epoch": {"epochs": "united"}}
    )
    base = base_of(sweep)
    space = build_space(sweep, base)
    point = default_values(space, base)
    assert point == {"memory.intra.switch_epoch": 4}
    assert from_first_epoch(point, space, base) == {}
    assert from_first_epoch({"memory.intra.switch_epoch": 6}, space, base) == {"memory.intra.switch_epoch": 6}
