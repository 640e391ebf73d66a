import pytest

from ecul.memory.schedule import TwoStepSchedule


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
