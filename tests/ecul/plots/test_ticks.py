import io

import pytest
from matplotlib.figure import Figure

from ecul.plots.canvas import save_figure
from ecul.plots.vector import svg_text, vector_style


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.0015, 0.0071), {"0.002", "0.005"}),
        ((8, 20), {"10", "15", "20"}),
        ((1, 1000), {"1", "10", "100", "1000"}),
    ],
)
def test_logarithmic_axes_have_plain_numbers_in_both_formats(values: tuple[float, float], expected: set[str]):
    with vector_style():
        figure = Figure()
        axes = figure.subplots()
        axes.scatter(values, values)
        axes.set_xscale("log")
        text = svg_text(figure)
    assert "mathdefault" not in text
    assert all(f">{label}</text>" in text for label in expected)
    save_figure(figure, io.BytesIO())
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert {label.get_text() for place, label in ticks if low <= place <= high} == expected
