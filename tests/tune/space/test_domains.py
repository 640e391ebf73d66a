import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecul.errors import ConfigError
from tune.space.domains import Constraint, Numeric


@given(low=st.integers(1, 50), width=st.integers(0, 40), log=st.booleans(), share=st.floats(0, 1), data=st.data())
@settings(deadline=None)
def test_every_share_is_a_value_of_the_domain_and_every_value_has_a_share(low, width, log, share, data):
    domain = Numeric(low, low + width, integer=True, log=log)
    assert domain.contains(domain.value_at(share))
    value = data.draw(st.integers(low, low + width))
    assert domain.value_at(domain.share_of(value)) == value


@given(low=st.floats(0.01, 5), width=st.floats(0, 5), log=st.booleans(), share=st.floats(0, 1))
def test_float_shares_stay_inside(low, width, log, share):
    domain = Numeric(low, low + width, log=log)
    assert low - 1e-9 <= domain.value_at(share) <= low + width
    assert domain.value_at(0.0) == pytest.approx(low)
    assert domain.value_at(1.0) == pytest.approx(low + width)


def test_log_scale_splits_equal_ratios():
    domain = Numeric(1e-4, 1e-2, log=True)
    assert domain.value_at(0.5) == pytest.approx(1e-3)
    assert domain.share_of(1e-3) == pytest.approx(0.5)


def test_steps_are_kept_by_shares_and_listed_by_the_grid():
    domain = Numeric(0.3, 0.7, step=0.1)
    assert domain.values() == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert [round(domain.value_at(share / 4.0001), 6) for share in range(5)] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert Numeric(2, 10, integer=True, step=4).values() == [2, 6, 10]


def test_a_grid_without_steps_is_refused():
    with pytest.raises(ConfigError, match="needs a step"):
        Numeric(0.3, 0.7).values()


@pytest.mark.parametrize(
    ("text", "greater", "smaller", "strict"),
    [("a.b >= c", "a.b", "c", False), ("a < b", "b", "a", True), ("a<=b", "b", "a", False), ("a > b", "a", "b", True)],
)
def test_constraints_are_read(text, greater, smaller, strict):
    assert Constraint.parse(text) == Constraint(greater, smaller, strict)


@pytest.mark.parametrize("text", ["a = b", "a", "a >= 3 b", ""])
def test_other_texts_are_no_constraints(text):
    with pytest.raises(ConfigError, match="PATH >= PATH"):
        Constraint.parse(text)


@pytest.mark.parametrize(
    ("domain", "inside", "outside"),
    [
        (Numeric(4, 40, integer=True, step=4), [4, 12, 40], [10, 41, 12.5, True, "12"]),
        (Numeric(0.3, 0.7, step=0.1), [0.3, 0.4, 0.6000000001, 0.7], [0.45, 0.2]),
        (Numeric(2, 5, integer=True), [2, 3.0], [2.5]),
        (Numeric(2, 5), [2.5], [5.1]),
    ],
)
def test_a_domain_holds_the_numbers_of_its_grid_alone(domain, inside, outside):
    assert [value for value in (*inside, *outside) if domain.contains(value)] == inside
