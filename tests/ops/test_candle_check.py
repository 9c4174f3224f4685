"""Candles of a scripted venue against stored minutes: what agrees, what differs, and candles that cannot be right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pumpwatch.errors import BadFrame, ServiceUnavailable
from pumpwatch.model import Flag, Instrument
from pumpwatch.ops.candle_check import READ_IN_VAIN, OwnMinute, why_wrong
from pumpwatch.ops.minute_states import State
from pumpwatch.store.minutes import MINUTE_NS, FlaggedSum
from pumpwatch.venue import Candle
from tests.ops.minute_folder import FIRST
from tests.ops.scripted_candles import CANDLE, COIN, NOW_NS, ScriptedVenue


def minutes(*figures: tuple[float, int], state: State = State.COMPLETE) -> list[OwnMinute]:
    return [OwnMinute(FIRST + minute, state if trades or state != State.COMPLETE else State.QUIET, trades, volume)
            for minute, (volume, trades) in enumerate(figures)]


def nothing(minute: int) -> list[FlaggedSum]:
    """Return the sums of a minute whose trades have left the journal."""
    return []


def test_minutes_agree_with_candles_asked_for_in_pages() -> None:
    scripted = ScriptedVenue({0: (1.0, 3), 1: (2.0, 2), 3: (0.5, 1)})
    check = scripted.check()
    check.compare(COIN, minutes((10.0, 3), (20.0, 2), (0.0, 0), (5.0, 1)), nothing)
    assert (check.found.compared, check.found.agreed, check.found.flaws) == (4, 4, [])
    assert scripted.asked == [(0, 3), (3, 4)] and check.requests(4) == 2


def test_a_missing_trade_shows_in_the_volume_and_in_the_number() -> None:
    check = ScriptedVenue({0: (1.0, 3), 1: (2.0, 2), 2: (1.0, -1)}).check()
    check.compare(COIN, minutes((9.99, 3), (20.0, 1), (10.0, 7)), nothing)
    assert [flaw.detail for flaw in check.found.flaws] == [
        "9.99 are stored, the venue's candle has 10, 3 trades and 3", "20 are stored, the venue's candle has 20, 1 trades and 2"]
    assert check.found.agreed == 1


def test_a_venue_may_differ_by_its_tolerance() -> None:
    check = ScriptedVenue({0: (1.0, 100), 1: (1.0, 100)}, tolerance=0.02).check()
    check.compare(COIN, minutes((9.9, 99), (9.7, 97)), nothing)
    assert (check.found.agreed, len(check.found.flaws), check.found.why) == (1, 1, "block trades")


BLOCKS, RPI, TAKEN = FlaggedSum(Flag.BLOCK, 1, 4.0), FlaggedSum(Flag.RPI | Flag.BACKFILLED, 2, 1.5), FlaggedSum(Flag.ADL, 1, 3.0)
ORDINARY = FlaggedSum(0, 5, 10.0)


@pytest.mark.parametrize(("candle", "agrees"), [
    ((1.55, 8), True), ((1.15, 7), True), ((1.4, 6), True), ((1.0, 5), True), ((1.85, 9), True), ((1.3, 6), True),
    ((1.55, 7), False), ((1.549, 8), False), ((0.4, 1), False)])
def test_a_candle_may_leave_out_each_kind_of_flagged_trades(candle: tuple[float, int], agrees: bool) -> None:
    check = ScriptedVenue({0: candle}).check()
    check.compare(COIN, minutes((15.5, 8)), lambda minute: [ORDINARY, BLOCKS, RPI, TAKEN])
    assert (check.found.agreed, len(check.found.flaws)) == (agrees, not agrees)


def test_neighbours_may_differ_by_a_late_trade_and_by_flagged_ones() -> None:
    check = ScriptedVenue({0: (1.1, 6), 1: (0.9, 4)}).check()
    check.compare(COIN, minutes((14.0, 6), (10.0, 5)), lambda minute: [ORDINARY, BLOCKS] if minute == FIRST else [ORDINARY])
    assert (check.found.shifted, check.found.flaws) == (2, [])


def test_flagged_trades_explain_nothing_where_there_are_none() -> None:
    check = ScriptedVenue({0: (1.0, 5)}).check()
    check.compare(COIN, minutes((10.0, 6)), lambda minute: [ORDINARY])
    assert len(check.found.flaws) == 1


def test_trades_are_read_only_of_minutes_that_differ_and_no_more_once_that_is_in_vain() -> None:
    read: list[int] = []
    check = ScriptedVenue(dict.fromkeys(range(0, 90, 2), (1.0, 2)), rows=90).check()
    check.compare(COIN, minutes((10.0, 2), (10.0, 2), (0.0, 0)), lambda minute: read.append(minute - FIRST) or [])
    assert set(read) == {1, 2}
    read.clear()
    check.compare(COIN, [OwnMinute(FIRST, State.GAP, 1, 10.0)], lambda minute: read.append(minute - FIRST) or [])
    assert read == []
    check.compare(COIN, minutes(*[(4.0, 1)] * 90), lambda minute: read.append(minute - FIRST) or [])
    assert len(read) == len(set(read)) <= READ_IN_VAIN and len(check.found.flaws) == 90


def test_a_trade_that_the_venue_counts_in_the_next_minute_is_no_difference() -> None:
    check = ScriptedVenue({0: (1.0, 3), 1: (2.0, 3), 2: (1.0, 1)}).check()
    check.compare(COIN, minutes((11.0, 4), (19.0, 2), (10.0, 1)), nothing)
    assert (check.found.shifted, check.found.agreed, check.found.flaws) == (2, 1, [])


def test_a_gap_explains_a_difference_and_unread_minutes_are_not_compared() -> None:
    check = ScriptedVenue({0: (1.0, 3), 1: (2.0, 2)}).check()
    check.compare(COIN, [OwnMinute(FIRST, State.GAP, 1, 3.0), OwnMinute(FIRST + 1, State.UNREAD)], nothing)
    assert (check.found.compared, check.found.in_gaps, check.found.flaws) == (1, 1, [])


def test_trades_where_the_venue_has_no_candle_differ() -> None:
    check = ScriptedVenue({}).check()
    check.compare(COIN, minutes((10.0, 3)), nothing)
    assert check.found.flaws[0].detail == "10 are stored, the venue's candle has 0, 3 trades and 0"


def test_rows_that_join_trades_are_compared_by_volume_alone() -> None:
    check = ScriptedVenue({0: (1.0, 9)}).check()
    check.compare(COIN, [OwnMinute(FIRST, State.FILLED, 3, 10.0, joined=True)], nothing)
    assert check.found.agreed == 1


def test_minutes_older_than_the_candles_are_not_asked_for() -> None:
    scripted = ScriptedVenue({98: (1.0, 3)}, reach_s=150.0)
    check = scripted.check()
    check.compare(COIN, [OwnMinute(FIRST + 97, State.COMPLETE, 1, 1.0), OwnMinute(FIRST + 98, State.COMPLETE, 3, 10.0)], nothing)
    assert (check.found.beyond, check.found.agreed, scripted.asked) == (1, 1, [(98, 99)])


@pytest.mark.parametrize(("change", "why"), [
    ({"start_ns": NOW_NS + MINUTE_NS}, "future"), ({"high": 1.5}, "contradict"), ({"low": 0.0}, "contradict"),
    ({"low": 2.5}, "contradict"), ({"volume": 0.0, "low": 0.0}, ""), ({}, "")])
def test_candles_that_cannot_be_right_are_rejected_with_the_reason(change: dict[str, Any], why: str) -> None:
    found = why_wrong(replace(CANDLE, **change), -1, NOW_NS)
    assert why in found and bool(found) == bool(why)


def test_candles_out_of_order_are_rejected() -> None:
    assert "not in order" in why_wrong(CANDLE, CANDLE.start_ns, NOW_NS)
    check = ScriptedVenue({}, answer=json.dumps([[NOW_NS + MINUTE_NS, 1, 1]]).encode()).check()
    check.compare(COIN, minutes((10.0, 3)), nothing)
    assert check.found.refused == [f"AUSDT: a candle is in the future: {NOW_NS + MINUTE_NS}"] and check.found.flaws == []


@pytest.mark.parametrize("answer", [b"<html>busy</html>", b'{"code":1}', b"[[1]]", b""])
def test_an_answer_that_is_something_else_is_rejected(answer: bytes) -> None:
    check = ScriptedVenue({}, answer=answer).check()
    check.compare(COIN, minutes((10.0, 3)), nothing)
    assert "cannot be read" in check.found.refused[0] and check.found.compared == 0


def test_a_venue_that_does_not_answer_is_asked_for_three_symbols() -> None:
    scripted = ScriptedVenue({}, answer=ServiceUnavailable("no answer"))
    check = scripted.check()
    for _ in range(5):
        check.compare(COIN, minutes((10.0, 3)), nothing)
    assert len(scripted.asked) == len(check.found.problems) == 3 and check.given_up


def test_a_venue_without_candles_says_so() -> None:
    scripted = ScriptedVenue({})
    scripted.venue.candles = None
    check = scripted.check()
    check.compare(COIN, minutes((10.0, 3)), nothing)
    assert check.given_up and check.requests(9) == 0 and "no candles" in check.found.note


def test_an_error_of_a_parser_is_caught_with_its_words() -> None:
    scripted = ScriptedVenue({}, answer=b"[]")

    def parse(body: bytes, instrument: Instrument) -> list[Candle]:
        raise BadFrame("odd")

    scripted.venue.candles = replace(scripted.venue.candles, parse=parse)
    check = scripted.check()
    check.compare(COIN, minutes((10.0, 3)), nothing)
    assert check.found.refused == ["AUSDT: the answer cannot be read: odd"]
