"""Requests for a part of a gap: no more than needed, and deeper histories only where the user allows them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from pumpwatch.backfill.intake import Unsettled
from pumpwatch.backfill.work import GapWork, Jumps
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.downtime import KILLED_BESIDE, downtime
from pumpwatch.errors import BadFrame
from pumpwatch.model import Columns, Flag, GapState, IdKind, TradeBatch
from pumpwatch.venue import AggregatedHistory, HistoryDepth
from tests.backfill.scripted import (
    MS,
    START_NS,
    MemoryCollector,
    ScriptedHistory,
    gap_of,
    history_request,
    parse_history,
    scripted_venue,
    trade,
)

AGGREGATES = HistoryDepth(rows_per_request=1000, pages=True, reach_s=172_800.0, oldest_first=True, skips_ids=True)


def parse_pairs(body: bytes, symbol: str, columns: Columns) -> None:
    """Join each even id with the next one: one row with both quantities, and a void row for the other id."""
    rows = json.loads(body)
    parse_history(json.dumps(rows).encode(), symbol, columns)
    for place, row in enumerate(rows):
        if row["id"] % 2 and place and rows[place - 1]["id"] == row["id"] - 1:
            columns.void.append(place)
            columns.flags[place - 1] = Flag.AGGREGATED.value
            columns.quantity[place - 1] += row["q"]


def collector_of(missing: range, *, aggregated: bool) -> MemoryCollector:
    """Return a collector whose venue gives its last 10 rows as they were, and older ones in pairs."""
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = dataclasses.replace(
        scripted_venue(pages=False, by_id=False, rows_per_request=50, skips_ids=True),
        aggregated_history=AggregatedHistory(depth=AGGREGATES, request=history_request, parse=parse_pairs))
    rows = [trade("S", number) for number in range(1, 100)]

    class Deep(ScriptedHistory):
        def _answer(self, query: Any, symbol: str) -> Any:
            if self.deep:
                return [row for row in self.rows[symbol] if query["start"] <= row["t"] * MS < query["end"]]
            return super()._answer(query, symbol)

        deep = False

        def ask(self, request: Any) -> bytes:
            self.deep = len(self.asked) % 2 == 1  # the first request goes to the raw history, the second to the other
            return super().ask(request)

    collector = MemoryCollector([Deep(venue, {"S": rows}, clock)], clock, {"S": 1.0}, aggregated=aggregated)
    collector.live(rows[: missing.start - 1])
    collector.live(rows[missing.stop - 1:])
    return collector


def test_joined_trades_are_fetched_only_if_the_user_allows_them():
    collector = collector_of(range(30, 60), aggregated=False)
    fill = collector.fill(collector.work(next(iter(collector.gaps.values()))))
    assert (fill.state, fill.missing, fill.by) == (GapState.LOST, 20, "id") and len(collector.histories[0].asked) == 1


def test_joined_trades_are_flagged_and_their_gap_says_so():
    collector = collector_of(range(30, 60), aggregated=True)
    fill = collector.fill(collector.work(next(iter(collector.gaps.values()))))
    assert (fill.state, fill.by) == (GapState.FILLED, "id, aggregated")
    batch = TradeBatch.concat(collector.stored)
    joined = batch.take((batch.flags & Flag.AGGREGATED) > 0)
    assert joined.trade_id.tolist() == list(range(30, 50, 2)) and (joined.quantity == 2.0).all()
    assert batch.quantity.sum() == 99 and ((joined.flags & Flag.BACKFILLED) > 0).all()
    assert collector.live(collector.histories[0].rows["S"][29:50]) == []  # their ids are used up
    assert TradeBatch.concat(collector.stored).quantity.sum() == 99


def test_a_joined_trade_of_which_a_part_is_stored_is_left_out():
    collector = collector_of(range(31, 60), aggregated=True)  # 30 is stored, and joined with 31
    work = collector.work(next(iter(collector.gaps.values())))
    fill = collector.fill(work) if not work.attempts else None
    assert fill is not None
    batch = TradeBatch.concat(collector.stored)
    assert 31 not in batch.trade_id.tolist() and batch.quantity.sum() == 98


def test_a_time_is_asked_from_the_last_known_trade_on_so_that_an_answer_cannot_be_empty():
    clock = FakeClock(START_NS + 2000 * NS_PER_S)
    venue = scripted_venue(by_id=False)
    rows = [trade("S", number) for number in range(1, 5)]
    collector = MemoryCollector([ScriptedHistory(venue, {"S": rows}, clock)], clock, {"S": 1.0},
                                {("alpha", "spot", "S"): (4, START_NS + 4 * NS_PER_S)})
    fill = collector.fill(collector.work(gap_of(venue, 1800.0, 1810.0, symbols=("S",)), "S"))
    assert (fill.state, fill.found) == (GapState.FILLED, 0)
    assert int(collector.histories[0].asked[0]["start"]) < START_NS + 4 * NS_PER_S


@pytest.mark.parametrize("kind", [IdKind.UNIQUE, IdKind.MONOTONIC])
def test_a_short_answer_that_begins_in_the_gap_is_no_proof_if_a_trade_is_known_before_it(kind):
    clock = FakeClock(START_NS + 1400 * NS_PER_S)
    venue = scripted_venue(kind=kind, pages=False, rows_per_request=1000)
    history = ScriptedHistory(venue, {"S": [trade("S", number, kind=kind) for number in range(1, 1290)]}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    collector.live(history.rows["S"][:299])
    collector.live(history.rows["S"][1000:])
    work = collector.work(gap_of(venue, 299.5, 1000.5, symbols=("S",)), "S")
    history.spoil = lambda rows: rows[-400:]
    with pytest.raises(Unsettled, match="does not reach its beginning"):
        collector.fill(work)
    history.spoil = lambda rows: rows
    fill = collector.fill(work)
    assert (fill.state, fill.found) == (GapState.FILLED, 701) and len(collector.have("S")) == 1289


@pytest.mark.parametrize("kind", [IdKind.UNIQUE, IdKind.MONOTONIC])
@pytest.mark.parametrize("pages", [True, False])
def test_a_symbol_that_last_traded_long_before_is_asked_again_from_its_last_trade_on(kind, pages):
    clock = FakeClock(START_NS + 4000 * NS_PER_S)
    venue = scripted_venue(kind=kind, pages=pages)
    rows = [trade("S", number, kind=kind) for number in (10, 3900)]
    history = ScriptedHistory(venue, {"S": rows}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    collector.live(rows[:1])
    work = collector.work(gap_of(venue, 1700.0, 2500.0, symbols=("S",)), "S")
    history.spoil = lambda rows: []
    for _ in range(3):
        with pytest.raises((Unsettled, BadFrame), match="no rows"):
            collector.fill(work)
        work.attempts = 0
    assert int(history.asked[-1]["start"]) < START_NS + 10 * NS_PER_S
    history.spoil = lambda rows: rows
    assert collector.fill(work).state is GapState.FILLED


def test_pages_that_an_earlier_run_has_stored_are_not_asked_again():
    clock = FakeClock(START_NS + 5000 * NS_PER_S)
    venue = scripted_venue()
    rows = [trade("S", number) for number in range(1, 4000)]
    collector = MemoryCollector([ScriptedHistory(venue, {"S": rows}, clock)], clock, {"S": 1.0})
    collector.live(rows[:29])
    (jump,) = collector.live(rows[3899:])
    collector.live(rows[29:3800], earlier=True)
    fill = collector.fill(collector.work(jump))
    assert (fill.state, fill.found) == (GapState.FILLED, 99) and len(collector.histories[0].asked) == 11


def test_after_a_kill_only_the_time_behind_the_last_live_trade_of_a_symbol_counts():
    clock = FakeClock(START_NS + 130 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=40)
    rows = [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 131)]
    collector = MemoryCollector([ScriptedHistory(venue, {"S": rows}, clock)], clock, {"S": 1.0})
    collector.live(rows[:100], earlier=True)
    collector.live(rows[110:])  # received before the end of the gap, by the next run: they say nothing of the time before
    received_ns = START_NS + 100 * NS_PER_S
    gap = downtime(venue, received_ns, START_NS + 115 * NS_PER_S, clean=False)
    assert gap.from_ns < START_NS + 90 * NS_PER_S  # the history does not reach so far back
    fill = collector.fill(collector.work(gap, "S"))
    assert (fill.state, fill.found) == (GapState.FILLED, 10)


def test_the_bounds_of_what_is_lost_after_a_kill_begin_at_the_last_live_trade():
    clock = FakeClock(START_NS + 200 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=40)
    rows = [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 201)]
    collector = MemoryCollector([ScriptedHistory(venue, {"S": rows}, clock)], clock, {"S": 1.0})
    collector.live(rows[:100], earlier=True)
    collector.live(rows[179:])
    gap = downtime(venue, START_NS + 100 * NS_PER_S, START_NS + 180 * NS_PER_S, clean=False)
    fill = collector.fill(collector.work(gap, "S"))
    assert (fill.state, fill.found) == (GapState.LOST, 19)
    assert START_NS + 99 * NS_PER_S <= (fill.lost_from_ns or 0) <= START_NS + 100 * NS_PER_S


def after_a_kill_with_a_hole(rows_per_request: int) -> tuple[MemoryCollector, GapWork]:
    """Return the work after a kill at 100 s. A dead connection brought nothing from 81 s to 85 s, its successor the rest."""
    clock = FakeClock(START_NS + 130 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=rows_per_request)
    rows = [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 131)]
    collector = MemoryCollector([ScriptedHistory(venue, {"S": rows}, clock)], clock, {"S": 1.0})
    collector.live(rows[:80] + rows[85:100], earlier=True)
    collector.live(rows[110:])
    return collector, collector.work(downtime(venue, START_NS + 100 * NS_PER_S, START_NS + 115 * NS_PER_S, clean=False), "S")


def test_a_trade_that_is_missing_before_the_last_live_one_is_fetched_too():
    collector, work = after_a_kill_with_a_hole(rows_per_request=110)
    assert work.gap.from_ns > START_NS + 20 * NS_PER_S  # the history reaches behind its beginning
    fill = collector.fill(work)
    assert (fill.state, fill.found) == (GapState.FILLED, 15) and len(collector.have("S")) == 130


def test_the_live_trade_before_a_missing_one_counts_where_the_history_begins_between_them():
    collector, work = after_a_kill_with_a_hole(rows_per_request=48)  # from 83 s on: trades 81 and 82 are lost
    work.spans = [(work.gap.from_ns - 1, START_NS + 119 * NS_PER_S)]  # it was read so far, from the last live trade on
    for _ in range(2):  # a later try finds the fetched trades stored, and knows by them
        fill = collector.fill(work)
        assert (fill.state, len(collector.have("S"))) == (GapState.LOST, 128)
        assert (fill.lost_from_ns, fill.lost_to_ns) == (START_NS + 79 * NS_PER_S, START_NS + 83 * NS_PER_S + 1)


def test_the_whole_gap_counts_if_a_connection_was_opened_beside_another_before_the_kill():
    collector, work = after_a_kill_with_a_hole(rows_per_request=40)  # from 91 s on: it does not show the hole
    work.gap = dataclasses.replace(work.gap, reason=KILLED_BESIDE)
    fill = collector.fill(work)
    assert (fill.state, fill.lost_from_ns) == (GapState.LOST, work.gap.from_ns)


def test_holes_that_one_page_holds_are_asked_for_together():
    clock = FakeClock(START_NS + 300 * NS_PER_S)
    venue = scripted_venue(rows_per_request=100)
    history = ScriptedHistory(venue, {"S": [trade("S", number) for number in range(1, 300)]}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    for first, last in ((1, 20), (30, 50), (55, 99), (110, 150), (240, 299)):
        collector.live(history.rows["S"][first - 1:last])
    works = [collector.work(gap) for gap in list(collector.gaps.values())]
    beside = Jumps()
    for work in works:
        beside.add(work)
    for work in works:
        work.beside = beside
        assert collector.fill(work).state is GapState.FILLED
    assert [(asked["first"], asked["last"]) for asked in history.asked] == [(20, 110), (150, 240)]
    assert len(collector.have("S")) == len(set(collector.have("S"))) == 299


def test_a_gap_that_other_filled_gaps_cover_is_filled_without_a_request():
    collector, work = after_a_kill_with_a_hole(rows_per_request=20)  # the history has moved on
    to_ns = work.gap.to_ns
    work.filled = [(START_NS + 98 * NS_PER_S, START_NS + 107 * NS_PER_S), (START_NS + 107 * NS_PER_S - 1, to_ns)]
    assert collector.fill(work).state is GapState.FILLED and not collector.histories[0].asked
    work.filled = [(START_NS + 98 * NS_PER_S, START_NS + 107 * NS_PER_S), (START_NS + 107 * NS_PER_S, to_ns)]
    fill = collector.fill(work)
    assert fill.state is GapState.LOST and collector.histories[0].asked


def test_two_answers_that_begin_alike_and_are_not_full_reach_back_to_the_first_trade_of_a_symbol():
    clock = FakeClock(START_NS + 130 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=160)
    rows = [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 200)]
    history = ScriptedHistory(venue, {"S": rows}, clock)
    collector = MemoryCollector([history], clock, {"S": 1.0})
    collector.live(rows[:3] + rows[50:130], earlier=True)  # the first trade came a moment before the gap's end
    work = collector.work(gap_of(venue, 0.5, 50.5, symbols=("S",)), "S")
    with pytest.raises(Unsettled, match="does not reach its beginning"):
        collector.fill(work)
    clock.advance(6.0)
    fill = collector.fill(work)
    assert (fill.state, fill.by, len(collector.have("S"))) == (GapState.FILLED, "overlap", 130)
