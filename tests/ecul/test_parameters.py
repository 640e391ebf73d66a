from dataclasses import fields

import pytest

from ecul.parameters import PRESET_DEFAULTS, ClusteringParameters, IntraParameters, UnitedParameters


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
