from dataclasses import fields

import pytest

from ecul.parameters import PRESET_DEFAULTS, ClusteringParameters, IntraParameters, TwoStepSchedule, UnitedParameters


def test_step_one_lasts_until_the_epoch_before_the_switch():
    schedule = TwoStepSchedule(switch_epoch=3, first_rule="random", first_momentum=0.1, second_momentum=0.2)
    assert [schedule.at(epoch) for epoch in (1, 2, 3, 4)] == [("random", 0.1)] * 2 + [("mean", 0.2)] * 2


def test_a_switch_at_the_first_epoch_skips_step_one():
    assert TwoStepSchedule(1, "hard", 0.1, 0.2).at(1) == ("mean", 0.2)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match="first_rule is 'median'"):
        TwoStepSchedule(1, "median", 0.1, 0.2)
    with pytest.raises(ValueError, match=r"second_momentum is 2\.0"):
        TwoStepSchedule(1, "hard", 0.1, 2.0)


@pytest.mark.parametrize("preset", PRESET_DEFAULTS)
def test_a_preset_fills_in_its_own_numbers_and_refuses_the_others(preset):
    defaults = PRESET_DEFAULTS[preset]
    filled = ClusteringParameters(preset)
    assert {name: getattr(filled, name) for name in defaults} == defaults
    foreign = next(name for name in ("k1_intra", "k1") if name not in defaults)
    with pytest.raises(ValueError, match=f"{preset} does not use {foreign}"):
        ClusteringParameters(preset, **{foreign: 5})


def test_the_filter_must_hold_the_fusion():
    with pytest.raises(ValueError, match=r"k3 \(3\) must be at least k2 \(4\); raise k3 too"):
        ClusteringParameters(k3=3)


def test_inside_a_modality_the_default_is_another_preset():
    assert IntraParameters().preset == "kreciprocal"
    assert (IntraParameters().k1, IntraParameters().k2) == (30, 6)


def test_the_curriculum_ends_at_eps_and_leaves_the_rest():
    united = UnitedParameters(k2=3, eps=0.6, eps_start=0.4, eps_ramp_epochs=4)
    assert [round(united.at(epoch).eps, 3) for epoch in range(1, 7)] == [0.4, 0.45, 0.5, 0.55, 0.6, 0.6]
    assert {field.name for field in fields(united.at(1))} == {field.name for field in fields(ClusteringParameters)}
    assert united.at(1) == ClusteringParameters(k2=3, eps=0.4)
    assert UnitedParameters(eps=0.5).at(1).eps == 0.5
