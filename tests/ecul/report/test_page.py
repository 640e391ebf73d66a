import math
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from ecul.plots.vector import svg_text, vector_style
from ecul.report.blocks import Figures, Folded, Heading, Part, Picture, Pictures, Sheet, Sheets, Table, Text, Tile
from ecul.report.page import Page, cell_text, render

EVIL = "<script>alert('x')</script>\" onload=\"x"


class Tags(HTMLParser):
    """Collects the tags of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_everything_from_outside_is_text():
    tile = Tile("data:,", EVIL, EVIL, "wrong")
    blocks = [
        Text(EVIL),
        Heading(EVIL),
        Table(EVIL, [EVIL], [[EVIL]]),
        Pictures([Picture(EVIL, EVIL, "data:,", wide=True)]),
        Sheets([Sheet(EVIL, EVIL, [tile])]),
        Folded(EVIL, [Text(EVIL)]),
        Figures([(EVIL, EVIL, EVIL)]),
    ]
    page = Tags(render(Page(EVIL, EVIL, [Part(EVIL, blocks)])))
    assert not [tag for tag, attributes in page.tags if tag == "script" or any(n.startswith("on") for n in attributes)]
    assert page.text.count(EVIL) == 18
    assert sum(EVIL in attributes.get("alt", "") for _, attributes in page.tags) == 2


def test_nothing_is_loaded_from_outside():
    page = Tags(render(Page("t", "s", [Part("p", [Text("x")])])))
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (math.nan, "-"),
        (3.0, "3"),
        (12345.678, "12346"),
        (0.12345, "0.123"),
        (0.44, "0.440"),
        ("a", "a"),
    ],
)
def test_cells(value, text):
    assert cell_text(value) == text


def test_pictures_follow_the_theme_and_names_are_no_formulas():
    with vector_style():
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#222222", label="cost in $ and \\alpha <b>")
        axes.legend()
        text = svg_text(figure)
    assert "cost in $ and \\alpha &lt;b&gt;" in text
    assert "prefers-color-scheme:dark" in text
    assert "stroke: var(--ink)" in text
    assert "#222222" not in text


def test_equal_figures_give_equal_files():
    def drawn():
        with vector_style():
            figure = Figure()
            figure.subplots().plot([0, 1], [0, 1])
            return svg_text(figure)

    assert drawn() == drawn()
