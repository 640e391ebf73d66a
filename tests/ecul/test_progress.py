import logging
import re
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
        assert re.fullmatch(r"reading images: 500 of 2,000 \(25 %\), \d+ s", wait_for_lines(quick, 2)[1])
    quick.clear()
    with Progress("waiting"):
        assert re.fullmatch(r"waiting: \d+ s", wait_for_lines(quick, 1)[-1])


def test_only_the_innermost_work_speaks_and_none_after_its_end(quick: pytest.LogCaptureFixture):
    with Progress("outer"):
        with Progress("inner"):
            assert {line.partition(":")[0] for line in wait_for_lines(quick, 3)} == {"inner"}
            seen = len(quick.messages)
        wait_for_lines(quick, seen + 3)  # one of the inner work may still be on its way
        assert quick.messages[-1].startswith("outer: ")
    time.sleep(0.1)
    seen = len(quick.messages)
    time.sleep(0.2)
    assert len(quick.messages) == seen


def test_a_silent_work_silences_those_around_it(quick: pytest.LogCaptureFixture):
    with Progress("outer"), Progress("shown by a bar", shown=False):
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
