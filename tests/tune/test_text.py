import pytest

from tune.text import duration_text, short, table, values_text


@pytest.mark.parametrize(("seconds", "text"), [(12, "12 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations_are_in_their_usual_unit(seconds, text):
    assert duration_text(seconds) == text


def test_a_tables_columns_line_up():
    assert table(["a", "bb"], [["1", "2"]]) == "| a | bb |\n| - | -- |\n| 1 | 2  |"


def test_values_have_four_digits():
    assert (short(0.123456), short(12), short("emcc")) == ("0.1235", "12", "emcc")
    assert (
        values_text({"clustering.united.k2": 3, "clustering.united.eps": 0.45})
        == "clustering.united.k2=3, clustering.united.eps=0.45"
    )
