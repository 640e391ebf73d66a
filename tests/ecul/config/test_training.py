import pytest

from ecul.errors import ConfigError
from ecul.settings import parse_config


def config(**sections):
    return parse_config({"data": {"root": "x"}} | sections)


BLEND = {"blend": {"from_stage": "blend"}}


def test_stages_follow_one_another():
    stages = config(stages={"bootstrap": 1, "intra": 2, "blend": 1, "united": 2}, memory=BLEND).stages
    expected = [("bootstrap", 1), ("intra", 1), ("intra", 2), ("blend", 1), ("united", 1), ("united", 2)]
    assert [stages.at(epoch) for epoch in range(1, 7)] == expected
    assert [stages.first(name) for name in ("bootstrap", "intra", "blend", "united")] == [1, 2, 4, 5]
    assert stages.total == 6


def test_a_stage_without_epochs_is_passed_over():
    stages = config(stages={"intra": 1, "united": 1}).stages
    assert [stages.at(epoch) for epoch in (1, 2)] == [("intra", 1), ("united", 1)]
    assert stages.first("blend") == stages.first("united") == 2


def test_nothing_to_train_is_refused():
    with pytest.raises(ConfigError, match=r"stages.bootstrap, .intra, .blend, .united are all 0"):
        config(stages={"intra": 0, "united": 0})


@pytest.mark.parametrize(
    ("stages", "blend", "message"),
    [
        ({"blend": 3}, {}, r"stages.blend is 3, but memory.blend.from_stage is null"),
        ({}, {"from_stage": "united", "from_epoch": 51}, "from_epoch is 51, but stage united has 50 epochs"),
        ({"blend": 3}, {"from_stage": "blend", "from_epoch": 2}, "blended from epoch 52 on, but .* epoch 51"),
        ({"blend": 3}, {"from_stage": "united"}, "blended from epoch 54 on, but .* epoch 51"),
    ],
)
def test_epochs_without_effect_are_refused(stages, blend, message):
    with pytest.raises(ConfigError, match=message):
        config(stages=stages, memory={"blend": blend})


def test_blending_may_begin_in_any_stage_with_clusters():
    assert config().blended_from is None
    assert config(stages={"blend": 5}, memory=BLEND).blended_from == 51
    assert config(memory=BLEND).blended_from == 51  # without such a stage, with the next one
    assert config(memory={"blend": {"from_stage": "united", "from_epoch": 3}}).blended_from == 53
    assert config(memory={"blend": {"from_stage": "intra", "from_epoch": 2}}, stages={"blend": 5}).blended_from == 2
    # the same configuration without its last stage still trains: sweeps make such a start for their trials
    config(stages={"united": 0}, memory={"blend": {"from_stage": "united", "from_epoch": 3}})


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        ({"intra_stages": ["bootstrap"]}, r"loss.bank.intra_stages.0: Input should be 'intra', 'blend' or 'united'"),
        ({"intra_stages": []}, "at least 1 item"),
        ({"weight": 1}, "unknown key loss.bank.weight"),
    ],
)
def test_terms_against_all_instances_name_stages_that_have_clusters(bank, message):
    with pytest.raises(ConfigError, match=message):
        config(loss={"bank": bank})
