"""Log lines: their form, and that a repeated one is limited."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.monkey import get_original

from pumpwatch.clock import FakeClock
from pumpwatch.config_log import LogConfig
from pumpwatch.ops.log_file import NAME, LogFile
from pumpwatch.ops.logs import RepeatLimit, fields_of, set_levels, set_up


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = list(logger.handlers), logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


class Asked:
    """A lock that notes who waits for it."""

    def __init__(self, lock: Any, asked: list[float]) -> None:
        self._lock, self._asked, self.release = lock, asked, lock.release

    def acquire(self, timeout: float) -> bool:
        self._asked.append(timeout)
        return bool(self._lock.acquire(timeout=timeout))


def record(message: str, *args: object, level: int = logging.WARNING, name: str = "pumpwatch.x") -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, args, None)


def test_a_line_is_time_level_place_and_words(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogConfig(), stream)
    logging.getLogger("pumpwatch.feeds.feed").info("connection up venue=%s", "a.spot")
    logging.getLogger("pumpwatch.feeds.feed").debug("not shown")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO feeds\.feed connection up venue=a\.spot\n",
                        stream.getvalue())


def test_setting_up_again_does_not_double_the_lines(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogConfig(), stream)
    set_up(LogConfig(), stream)
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
    set_up(LogConfig(), stream)
    logging.getLogger("pumpwatch.feeds.feed").warning("connection down venue=%s reason=%s", "a.spot", FORGED)
    line, rest = stream.getvalue().split("\n")
    assert rest == "" and line.isprintable()
    assert r"reason=gone\r\n2026-11-21T10:00:00.000Z ERROR store.journal all is lost\x1b[2J\x9b2J\u202e" in line


def test_no_line_of_a_traceback_looks_like_one_of_the_log(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogConfig(), stream)
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        logging.getLogger("pumpwatch.supervisor").exception("part failed part=%s reason=%s", "x", error)
    first, *rest = stream.getvalue().splitlines()
    assert "part failed part=x" in first and len(rest) > 3
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


def test_a_line_for_machines_is_one_json_object(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogConfig(format="json"), stream)
    logging.getLogger("pumpwatch.feeds.feed").warning("connection down venue=%s down_s=%.1f tries=%d reason=%s", "a.spot", 1.25,
                                                      3, FORGED)
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("time"))
    assert found == {"level": "WARNING", "part": "feeds.feed", "message": "connection down",
                     "fields": {"venue": "a.spot", "down_s": 1.2, "tries": 3, "reason": FORGED}}


def test_a_traceback_is_a_field_of_the_same_object(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogConfig(format="json"), stream)
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("pumpwatch_plugins.sinks.questdb.sink").exception("part failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError" in json.loads(line)["traceback"] and json.loads(line)["part"] == "sinks.questdb.sink"


@pytest.mark.parametrize(("words", "values", "message", "fields"), [
    ("health %s", ("a: up | gaps=%d",), "health a: up | gaps=%d", {}),
    ("down reason=%s", ("x venue=evil",), "down", {"reason": "x venue=evil"}),
    ("too large bytes=%d sinks=%s: they need it", (7, "q"), "too large: they need it", {"bytes": 7, "sinks": "q"}),
    ("used=%.1f%% of %s", (70.25, "it"), "% of it", {"used": 70.2}),
    ("late reason='no answer in %.0f s' to=%s", (2.0, "a"), "late", {"reason": "no answer in 2 s", "to": "a"}),
    ("plain 100%", (), "plain 100%", {}),
    ("state=up for %s", ("ever",), "", {"state": "up for ever"}),
    ("wrong number=%d", ("seven",), "wrong number=%d ('seven',)", {}),
])
def test_fields_are_those_of_the_words(words: str, values: tuple[object, ...], message: str, fields: dict[str, object]) -> None:
    assert fields_of(record(words, *values)) == (message, fields)


def test_a_part_has_its_own_level_until_it_is_taken_back(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(LogConfig(level="warning", levels={"feeds": "debug", "store.drain": "error", "sinks": "info"}), stream)

    def log_all() -> str:
        stream.truncate(0)
        for name in ("pumpwatch.feeds.feed", "pumpwatch.store.drain", "pumpwatch.store.journal",
                     "pumpwatch_plugins.sinks.questdb"):
            for level in (logging.DEBUG, logging.INFO, logging.WARNING):
                logging.getLogger(name).log(level, "%s", logging.getLevelName(level))
        return " ".join(re.findall(r"Z (\w+ \S+)", stream.getvalue()))

    assert log_all() == ("DEBUG feeds.feed INFO feeds.feed WARNING feeds.feed WARNING store.journal"
                         " INFO pumpwatch_plugins.sinks.questdb WARNING pumpwatch_plugins.sinks.questdb")
    set_levels(LogConfig(level="warning"))
    assert log_all() == "WARNING feeds.feed WARNING store.drain WARNING store.journal WARNING pumpwatch_plugins.sinks.questdb"


def test_a_folder_gets_the_same_lines_as_stderr(root: logging.Logger, tmp_path: Path) -> None:
    stream = io.StringIO()
    config = LogConfig(folder=str(tmp_path / "logs"))
    set_up(config, stream)
    set_up(config, stream)
    for number in range(20):
        logging.getLogger("pumpwatch").warning("again %s", "x", extra={"number": number})
    root.handlers[1].close()
    written = (tmp_path / "logs" / "pumpwatch.log").read_text()
    assert written == stream.getvalue() and written.count("again") == 10, "a repeated line is held back in both"


def test_another_folder_holds_nobody_up_while_the_one_before_is_written_to_its_end(root: logging.Logger, tmp_path: Path) -> None:
    set_up(LogConfig(folder=str(tmp_path / "one")), io.StringIO())
    before = next(handler for handler in root.handlers if isinstance(handler, LogFile))
    writing, may_go_on = (get_original("_thread", "allocate_lock")() for _ in range(2))
    writing.acquire()
    may_go_on.acquire()
    emit = before._file.emit

    def slowly(record: logging.LogRecord) -> None:
        writing.release()
        may_go_on.acquire()
        emit(record)

    before._file.emit = slowly
    logging.getLogger("pumpwatch.x").warning("the last line")
    writing.acquire()  # the disk does not answer now
    asked: list[float] = []
    before._ended = Asked(before._ended, asked)
    set_up(LogConfig(folder=str(tmp_path / "two")), io.StringIO())
    assert asked == [], "the hub would have waited for the disk"
    may_go_on.release()
    before.close()
    assert asked and (tmp_path / "one" / NAME).read_text().endswith("the last line\n")
