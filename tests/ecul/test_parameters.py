import pytest

from ecul.parameters import PRESET_DEFAULTS, ClusteringParameters
from ecul.schedules import IntraParameters


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


def test_the_readings_of_emcc_bring_their_own_ranges():
    assert [getattr(ClusteringParameters(), name) for name in ("reading", "k1", "k2", "k3")] == ["groups", 10, 4, 10]
    window = ClusteringParameters(reading="window")
    assert (window.k1, window.k2, window.k3) == (40, 16, 40)
    mixed = ClusteringParameters(reading="window", reciprocal="groups", k2=3)
    assert (mixed.k1, mixed.k2, mixed.k3) == (10, 3, 40)


def test_a_quota_above_the_window_is_no_quota():
    assert ClusteringParameters("camera_quota", k2=30, k3=20).k2 == 30
    with pytest.raises(ValueError, match="camera_window does not use k3"):
        ClusteringParameters("camera_window", k3=30)
    with pytest.raises(ValueError, match="camera_quota does not use reading"):
        ClusteringParameters("camera_quota", reading="window")
