"""The page in a real browser: it asks for nothing, complains of nothing, and reads well where people read it."""

from pathlib import Path

import pytest

from ecul.cli import main
from tests.browser import CHROMIUM, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")

OPEN_ALL = "document.querySelectorAll('details').forEach(each => each.open = true)"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
REACHABLE = 'document.querySelectorAll(\'a[href^="#"], summary, [tabindex="0"]\').length'
# images that did not load, and figures that stand out of the page
BROKEN = "[...document.images].filter(image => !image.naturalWidth).map(image => image.alt)"
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def pages(runs, tmp_path_factory) -> list[Path]:
    """Reports of one run and of two."""
    both = tmp_path_factory.mktemp("pages") / "both.html"
    assert main(["report", str(runs), "--out", str(both)]) == 0
    return [runs / "first" / "report.html", both]


@pytest.fixture(scope="module")
def tab():
    with browser() as page:
        yield page


def test_the_watch_sees_requests_and_complaints(tmp_path):
    (tmp_path / "bad.html").write_text(
        "<img src='http://127.0.0.1:9/x.png'><script>console.error('e'); throw new Error('thrown')</script>"
    )
    with browser() as tab:
        tab.open(tmp_path / "bad.html")
        assert "http://127.0.0.1:9/x.png" in tab.requests
        assert any("thrown" in complaint for complaint in tab.complaints)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (400, False)])
def test_a_page_opens_quietly_and_fits(tab, pages, number, width, dark):
    tab.requests.clear()
    tab.open(pages[number], width=width, dark=dark)
    assert tab.requests == [pages[number].as_uri()]
    assert tab.run(BACKGROUND) == ("rgb(18, 22, 27)" if dark else "rgb(246, 247, 249)")
    tab.run(OPEN_ALL)
    assert tab.run(TOO_WIDE) == 0
    assert tab.run(BROKEN) == []
    assert tab.complaints == []


def test_pictures_take_the_colours_of_the_theme(tab, pages):
    """The first picture's text, drawn on a canvas, is light on dark and dark on light."""
    brightest = """(async () => {
        const image = document.querySelector('.picture img'); await image.decode();
        const canvas = document.createElement('canvas'); canvas.width = 400; canvas.height = 300;
        const context = canvas.getContext('2d'); context.drawImage(image, 0, 0, 400, 300);
        const data = context.getImageData(0, 0, 400, 300).data; let light = 0, dark = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) {
            if (data[i] > 200 && data[i + 2] > 200) light++; if (data[i] < 60 && data[i + 2] < 60) dark++; }
        return light - dark; })()"""
    tab.open(pages[0], dark=True)
    on_dark = tab.run(brightest)
    tab.open(pages[0])
    assert on_dark > 0 > tab.run(brightest)


def test_the_keyboard_reaches_everything(tab, pages):
    tab.open(pages[1], width=400)
    tab.run(OPEN_ALL)
    count = tab.run(REACHABLE)
    reached = set()
    for _ in range(count + 2):
        tab.press("Tab", 9)
        reached.add(
            tab.run("[...document.querySelectorAll('a[href], summary, [tabindex]')].indexOf(document.activeElement)")
        )
    assert len(reached - {-1}) == count
    tab.run("document.querySelector('summary').focus()")
    tab.press("Enter", 13)
    assert tab.run("document.querySelector('details').open") is False
