import pytest

from ecul.memory_parameters import InstanceSchedule, TwoStepSchedule


def test_step_one_lasts_until_the_epoch_before_the_switch():
    schedule = TwoStepSchedule(switch_epoch=3, first_rule="random", first_momentum=0.1, first_initial="random")
    assert [schedule.at(epoch) for epoch in (1, 2, 3, 4)] == [("random", 0.1)] * 2 + [("mean", 0.2)] * 2
    assert [schedule.initial(epoch) for epoch in (1, 2, 3, 4)] == ["random"] * 2 + ["mean"] * 2


def test_a_switch_at_the_first_epoch_skips_step_one():
    assert TwoStepSchedule(1, "hard", 0.1, 0.2).at(1) == ("mean", 0.2)


def test_both_steps_may_keep_one_rule_and_forget_the_old_row():
    schedule = TwoStepSchedule(2, "random", 0, 0, "random")
    assert schedule.at(1) == schedule.at(2) == ("random", 0)


def test_the_instance_memory_takes_the_united_momentum_where_it_has_none():
    schedule = InstanceSchedule(switch_epoch=2, first_momentum=0.0)
    assert [schedule.at(epoch, otherwise=0.3) for epoch in (1, 2)] == [("random", 0.0), ("mean", 0.3)]
    assert InstanceSchedule().at(1, otherwise=0.2) == ("mean", 0.2)


def test_impossible_values_are_refused():
    with pytest.raises(ValueError, match="first_rule is 'median'"):
        TwoStepSchedule(1, "median", 0.1, 0.2)
    with pytest.raises(ValueError, match="second_initial is 'hard', expected one of mean, random"):
        TwoStepSchedule(1, second_initial="hard")
    with pytest.raises(ValueError, match=r"second_momentum is 2\.0"):
        TwoStepSchedule(1, "hard", 0.1, 2.0)
    with pytest.raises(ValueError, match="second_rule is 'median'"):
        InstanceSchedule(second_rule="median")
    with pytest.raises(ValueError, match="first_momentum is -1"):
        InstanceSchedule(first_momentum=-1)
