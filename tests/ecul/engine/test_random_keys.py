import itertools

from ecul.engine.random_keys import memory_key, plan_key, view_key

EPOCHS, STEPS, VIEWS = 3, 250, 4


def padded(key):
    """As numpy reads it: filled up with zeros to four words."""
    return (*key, *(0,) * (4 - len(key)))


def test_no_two_uses_share_a_random_stream():
    keys = [plan_key(0, epoch) for epoch in range(EPOCHS)]
    for epoch, step in itertools.product(range(EPOCHS), range(1, STEPS)):
        keys += [memory_key(0, epoch, step), *(view_key(0, epoch, step, view) for view in range(VIEWS))]
    assert len({padded(key) for key in keys}) == len(keys)


def test_the_streams_of_fewer_than_100_steps_are_what_they_have_always_been():
    assert plan_key(1, 2) == (1, 2, 100)
    assert [view_key(1, 2, step, 3) for step in (1, 99)] == [(1, 2, 1, 3), (1, 2, 99, 3)]
    assert memory_key(1, 2, 99) == (1, 2, 99, 101)
