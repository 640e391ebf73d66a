import logging
import time

import pytest

from ecul import progress
from ecul.progress import Progress


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(progress, "FIRST_S", 0.05)
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    caplog.set_level(logging.INFO, logger="ecul.progress")
    return caplog


def wait_for_lines(caplog: pytest.LogCaptureFixture, count: int) -> list[str]:
    end = time.monotonic() + 10
    while len(caplog.messages) < count and time.monotonic() < end:
        time.sleep(0.01)
    return list(caplog.messages)


def test_long_work_says_how_far_it_is(quick: pytest.LogCaptureFixture):
    with Progress("reading images", total=2000) as work:
        work.advance(500)
        assert wait_for_lines(quick, 2)[1] == "reading images: 500 of 2,000 (25 %), 0 s"
    with Progress("waiting"):
        assert wait_for_lines(quick, 3)[-1] == "waiting: 0 s"


def test_only_the_innermost_work_speaks_and_none_after_its_end(quick: pytest.LogCaptureFixture):
    with Progress("outer"):
        with Progress("inner"):
            assert set(wait_for_lines(quick, 3)) == {"inner: 0 s"}
        quick.clear()
        assert wait_for_lines(quick, 1)[0] == "outer: 0 s"
    quick.clear()
    time.sleep(0.2)
    assert quick.messages == []


def test_short_silent_and_failed_work_says_nothing(quick: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    with Progress("silent", shown=False):
        time.sleep(0.2)
    monkeypatch.setattr(progress, "FIRST_S", 60)
    with pytest.raises(ZeroDivisionError), Progress("failed"):
        raise ZeroDivisionError
    assert quick.messages == []
    assert Progress._open == []
