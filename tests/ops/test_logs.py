"""Log lines: their form, and that a repeated one is limited."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.ops.logs import RepeatLimit, set_up


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


def record(message: str, *args: object, level: int = logging.WARNING, name: str = "pumpwatch.x") -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, args, None)


def test_a_line_is_time_level_place_and_words(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up("info", stream)
    logging.getLogger("pumpwatch.feeds.feed").info("connection up venue=%s", "a.spot")
    logging.getLogger("pumpwatch.feeds.feed").debug("not shown")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO feeds\.feed connection up venue=a\.spot\n",
                        stream.getvalue())


def test_setting_up_again_does_not_double_the_lines(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up("info", stream)
    set_up("info", stream)
    logging.getLogger("pumpwatch").warning("once")
    assert stream.getvalue().count("once") == 1


def test_a_repeated_line_is_held_back_and_counted_whatever_its_values(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    limit = RepeatLimit(burst=3, period_s=60, now=clock.monotonic)
    passed = [limit.filter(record("down venue=%s reason=%s", "a.spot", n)) for n in range(10)]
    assert passed == [True] * 3 + [False] * 7
    clock.advance(61)
    assert limit.filter(record("health %s", "fine"))
    assert caplog.messages == ["7 more lines were held back like: down venue=a.spot reason=%s"]
    assert limit.filter(record("down venue=%s reason=%s", "a.spot", 10))


def test_each_venue_has_its_own_lines() -> None:
    limit = RepeatLimit(burst=1, period_s=60, now=FakeClock().monotonic)
    assert all(limit.filter(record("roster venue=%s symbols=%d", f"{number}.spot", 7)) for number in range(50))


def test_other_lines_pass_meanwhile() -> None:
    limit = RepeatLimit(burst=1, period_s=60, now=FakeClock().monotonic)
    assert limit.filter(record("down"))
    assert not limit.filter(record("down"))
    assert limit.filter(record("up"))
    assert limit.filter(record("down", name="pumpwatch.y"))
    assert limit.filter(record("down", level=logging.CRITICAL))
    assert limit.filter(record("down", level=logging.CRITICAL))


FORGED = "gone\r\n2026-11-21T10:00:00.000Z ERROR store.journal all is lost\x1b[2J\x9b2J\u202e"


def test_what_a_venue_says_is_one_line_that_steers_no_terminal(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up("info", stream)
    logging.getLogger("pumpwatch.feeds.feed").warning("connection down venue=%s reason=%s", "a.spot", FORGED)
    line, rest = stream.getvalue().split("\n")
    assert rest == "" and line.isprintable()
    assert r"reason=gone\r\n2026-11-21T10:00:00.000Z ERROR store.journal all is lost\x1b[2J\x9b2J\u202e" in line


def test_no_line_of_a_traceback_looks_like_one_of_the_log(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up("info", stream)
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        logging.getLogger("pumpwatch.supervisor").exception("part failed part=%s reason=%s", "x", error)
    first, *rest = stream.getvalue().splitlines()
    assert "part failed part=x" in first and len(rest) > 3
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
