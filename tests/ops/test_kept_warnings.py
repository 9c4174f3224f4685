"""The log's last warnings are kept, bounded, and printable."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from pumpwatch.ops.kept_warnings import KEPT, LONGEST, KeptWarnings

log = logging.getLogger("pumpwatch.feeds.feed")


@pytest.fixture
def kept() -> Iterator[KeptWarnings]:
    handler = KeptWarnings()
    handler.start()
    yield handler
    handler.stop()


def test_warnings_and_errors_are_kept_and_what_is_less_is_not(kept: KeptWarnings) -> None:
    log.info("connection up venue=%s", "a.spot")
    log.warning("connection lost venue=%s", "a.spot")
    log.error("disk full")
    assert [(row["level"], row["part"], row["text"], row["times"]) for row in kept.rows()] == [
        ("WARNING", "feeds.feed", "connection lost venue=a.spot", 1), ("ERROR", "feeds.feed", "disk full", 1)]


def test_a_line_that_comes_again_is_one_entry_with_the_last_figures(kept: KeptWarnings) -> None:
    log.warning("late venue=%s by_s=%d", "a.spot", 5)
    log.warning("late venue=%s by_s=%d", "b.spot", 5)
    log.warning("late venue=%s by_s=%d", "a.spot", 9)
    rows = kept.rows()
    assert [(row["text"], row["times"]) for row in rows] == [("late venue=b.spot by_s=5", 1), ("late venue=a.spot by_s=9", 2)]
    assert len({row["number"] for row in rows}) == 2


def test_the_number_of_entries_and_their_length_are_bounded(kept: KeptWarnings) -> None:
    for number in range(3 * KEPT):
        log.warning("venue=%s", f"{number}" + "x" * 5000)
    rows = kept.rows()
    assert len(rows) == KEPT and rows[-1]["text"].startswith(f"venue={3 * KEPT - 1}x")
    assert max(len(row["text"]) for row in rows) == LONGEST


def test_words_from_outside_cannot_hide_or_forge(kept: KeptWarnings) -> None:
    log.warning("answer %s", "a\n\x1b[2J\u202eb")
    assert kept.rows()[0]["text"] == "answer a\\n\\x1b[2J\\u202eb"


def test_nothing_is_kept_after_the_end(kept: KeptWarnings) -> None:
    kept.stop()
    log.warning("too late")
    assert kept.rows() == []
