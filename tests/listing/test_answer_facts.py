"""The facts of an answer: its headers as they came, and our clock against the board's."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.answer_facts import answer_facts

SENT_S = 1_790_000_000


def facts(asked_s: float, answered_s: float, **headers: str) -> dict[str, Any]:
    return answer_facts("https://user:secret@board.test/list", {name.replace("_", "-"): text for name, text in headers.items()},
                        int(asked_s * NS_PER_S), int(answered_s * NS_PER_S))


def test_our_clock_is_compared_with_the_middle_of_the_second_that_the_board_names() -> None:
    found = facts(SENT_S + 7.4, SENT_S + 7.6, Date=formatdate(SENT_S, usegmt=True), ETag='W/"1"')
    assert (found["clock_offset_ms"], found["clock_offset_within_ms"]) == (7000.0, 600.0)
    assert (found["date"], found["age"], found["etag"]) == (formatdate(SENT_S, usegmt=True), None, 'W/"1"')
    assert "secret" not in found["url"] and found["answered_at_ns"] - found["asked_at_ns"] == NS_PER_S // 5


def test_the_age_of_an_answer_from_a_cache_counts() -> None:
    found = facts(SENT_S + 30.5, SENT_S + 30.5, Date=formatdate(SENT_S, usegmt=True), Age="30")
    assert (found["clock_offset_ms"], found["age"]) == (0.0, "30")


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Zzz 2026 25:61:61 GMT", "Thu, 01 Jan 99999 00:00:00 GMT", "\x00"])
def test_a_date_that_is_not_one_gives_no_offset(date: str) -> None:
    found = facts(SENT_S, SENT_S, Date=date, Age="x" * 10_000)
    assert (found["clock_offset_ms"], found["clock_offset_within_ms"]) == (None, None)
    assert len(found["age"]) <= 200
    assert facts(SENT_S, SENT_S)["date"] is None
