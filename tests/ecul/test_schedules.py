"""Schedules: cases by hand, MPJL's own formulas, and what holds for all of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecul.errors import ConfigError
from ecul.parameters import ClusteringParameters
from ecul.schedules import (
    ClusteringSchedule,
    EpsMove,
    IntraParameters,
    Move,
    RangeMove,
    StageSchedules,
    UnitedParameters,
)
from ecul.settings import config_tree, load_config, parse_config

SMOKE = "configs/smoke.yaml"


def test_a_straight_move_takes_equal_steps_and_stays_at_its_end():
    united = UnitedParameters(k2=3, eps=0.6, schedule=ClusteringSchedule(eps=EpsMove(first=0.4, epochs=4)))
    assert [round(united.at(epoch).eps, 3) for epoch in range(1, 7)] == [0.4, 0.45, 0.5, 0.55, 0.6, 0.6]
    assert united.at(1) == ClusteringParameters(k2=3, eps=0.4)
    assert type(united.at(1)) is ClusteringParameters
    assert UnitedParameters(eps=0.5).at(1) == ClusteringParameters(eps=0.5)


def test_a_v_turns():
    move = EpsMove(first=0.6, turn=0.2, turn_epochs=2, last=0.5, epochs=5)
    assert [round(move.at(epoch, 0.9), 3) for epoch in range(1, 8)] == [0.6, 0.4, 0.2, 0.3, 0.4, 0.5, 0.5]


def test_a_geometric_move_has_equal_ratios_and_ranges_are_whole():
    assert [RangeMove(first=4, epochs=2, shape="geometric").at(epoch, 16) for epoch in (1, 2, 3)] == [4, 8, 16]
    halves = RangeMove(first=1, epochs=2)
    assert [halves.at(2, 2), halves.at(2, 4)] == [2, 2]  # 1.5 and 2.5: half to even, as MPJL rounds
    assert RangeMove(last=7).at(1, 3) == 7


def test_the_moves_of_mpjl():
    # the third stage on SYSU-MM01, epochs counted from 0 there: eps falls to .3 in 10 epochs and doubles in 40 more;
    # k1 is 40 x 3^(e/48); the last epoch is e = 49
    eps = EpsMove(first=0.6, turn=0.3, turn_epochs=10, last=0.6, epochs=50, shape="geometric")
    k1 = RangeMove(first=40, last=120, epochs=48, shape="geometric")
    for e in range(50):
        public = 0.6 * 0.5 ** (e / 10) if e <= 10 else 0.3 * 2 ** ((e - 10) / 40)
        assert eps.at(e + 1, 0.9) == pytest.approx(public, abs=1e-6)
        if e <= 48:  # there it goes on to 123 in the last epoch
            assert k1.at(e + 1, 5) == int(np.around(40 * 3 ** (e / 48), 0))


def test_each_stage_has_its_own_moves_inside_a_modality():
    schedule = StageSchedules(
        intra=ClusteringSchedule(k1=RangeMove(first=20, last=35, epochs=25, shape="geometric")),
        united=ClusteringSchedule(eps=EpsMove(first=0.6, last=0.4, epochs=2), k2=RangeMove(last=18)),
    )
    intra = IntraParameters("camera_quota", 0.5, k1=30, k2=6, k3=12, schedule=schedule)
    first = intra.at("intra", 1)
    assert (first.k1, first.k2, first.eps, intra.at("intra", 26).k1) == (20, 6, 0.5, 35)
    assert intra.at("blend", 7) == ClusteringParameters("camera_quota", 0.5, k1=30, k2=6, k3=12)
    assert [round(intra.at("united", epoch).eps, 3) for epoch in (1, 2, 3)] == [0.6, 0.5, 0.4]
    assert intra.at("united", 1).k2 == 18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turn": 0.3}, "first is null"),
        ({"first": 0.3, "turn": 0.2, "turn_epochs": 20}, r"turn_epochs \(20\) must be below epochs \(20\)"),
        ({"shape": "round"}, "shape is 'round', expected one of linear, geometric"),
    ],
)
def test_moves_without_meaning_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Move(**options)


def test_ranges_must_fit_in_every_epoch():
    # k3 stays 10 while k2 falls from 12 to 4: the first epochs have no filter that holds the fusion
    with pytest.raises(ValueError, match=r"schedule, epoch 1 of the stage: k3 \(10\) must be at least k2 \(12\)"):
        UnitedParameters(schedule=ClusteringSchedule(k2=RangeMove(first=12)))
    # in the middle: k2 makes a turn above k3
    turn = RangeMove(first=4, turn=11, turn_epochs=5, epochs=10)
    with pytest.raises(ValueError, match=r"epoch 6 of the stage: k3 \(10\) must be at least k2 \(11\)"):
        UnitedParameters(schedule=ClusteringSchedule(k2=turn))
    with pytest.raises(ValueError, match=r"schedule.blend, epoch 1 of the stage: preset kreciprocal does not use k3"):
        IntraParameters(schedule=StageSchedules(blend=ClusteringSchedule(k3=RangeMove(first=4))))


MOVES = st.builds(
    EpsMove,
    first=st.floats(0.01, 0.99),
    last=st.none() | st.floats(0.01, 0.99),
    turn=st.none() | st.floats(0.01, 0.99),
    turn_epochs=st.integers(1, 9),
    epochs=st.integers(10, 30),
    shape=st.sampled_from(["linear", "geometric"]),
)


@given(move=MOVES, otherwise=st.floats(0.01, 0.99))
def test_moves_meet_their_ends_stay_between_them_and_never_go_back(move, otherwise):
    last = otherwise if move.last is None else move.last
    values = [move.at(epoch, otherwise) for epoch in range(1, move.epochs + 5)]
    assert values[0] == pytest.approx(move.first, abs=1e-6)
    assert values[move.epochs :] == [last] * 4
    knots = [(0, move.first), (move.epochs, last)]
    if move.turn is not None:
        knots.insert(1, (move.turn_epochs, move.turn))
        assert values[move.turn_epochs] == pytest.approx(move.turn, abs=1e-6)
    for (begin, low), (end, high) in itertools.pairwise(knots):
        part = np.array(values[begin : end + 1])
        assert min(low, high) - 1e-6 <= part.min() <= part.max() <= max(low, high) + 1e-6
        assert (np.diff(part) * np.sign(high - low) >= -1e-6).all()


@pytest.mark.parametrize("section", ["clustering", "clustering.united"])
def test_the_keys_of_before_are_refused_with_the_new_path(section):
    with pytest.raises(ConfigError, match=f"{section}.eps_start is now clustering.united.schedule.eps.first"):
        load_config(SMOKE, {f"{section}.eps_start": 0.3})
    with pytest.raises(ConfigError, match=f"{section}.eps_ramp_epochs is now clustering.united.schedule.eps.epochs"):
        load_config(SMOKE, {f"{section}.eps_ramp_epochs": 3})


def test_a_written_configuration_holds_the_moves_that_say_something():
    changes = {"clustering.intra.schedule.blend.k1.first": 4, "clustering.united.schedule.eps.epochs": 7}
    config = load_config(SMOKE, changes)
    tree = config_tree(config)
    assert list(tree["clustering"]["intra"]["schedule"]) == ["blend"]
    assert list(tree["clustering"]["united"]["schedule"]) == ["eps"]
    assert parse_config(tree) == config
    assert "schedule" not in config_tree(load_config(SMOKE))["clustering"]["united"]
