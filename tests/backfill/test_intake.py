"""Rows of an answer on their way into the store."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pumpwatch.backfill.intake import Intake, Stopping
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import GapState, IdKind
from pumpwatch.venue import HistoryQuery
from tests.backfill.scripted import START_NS, MemoryCollector, ScriptedHistory, gap_of, parse_history, scripted_venue, trade


class Taken:
    """An intake for the gap from 30 s to 60 s of a symbol that trades each second."""

    def __init__(self, kind: IdKind = IdKind.CONTIGUOUS, stopping: bool = False, **depth: Any) -> None:
        clock = FakeClock(START_NS + 120 * NS_PER_S)
        venue = scripted_venue(kind=kind, **depth)
        self.rows = [trade("S", number, kind=kind) for number in range(1, 100)]
        self.history = ScriptedHistory(venue, {"S": self.rows}, clock)
        self.collector = MemoryCollector([self.history], clock, {"S": 1.0})
        gap = gap_of(venue, 29.5, 59.5, symbols=("S",))
        self.work = self.collector.work(gap, "S")
        self.intake = Intake(self.collector.accesses[0], self.collector.means, self.work, 60 * NS_PER_S, lambda: stopping)
        self.intake.start_ns, self.intake.end_ns = gap.from_ns, gap.to_ns

    def take(self, first: int, last: int):
        self.history.spoil = lambda rows: self.rows[first - 1:last]
        body = self.history.ask(self.history.venue.history_request(HistoryQuery("S", 0, 1)))
        return self.intake.store_missing(self.collector.accesses[0].parser.history(body, "S", parse_history))


def test_only_trades_inside_the_gap_are_stored():
    taken = Taken()
    rows, _ = taken.take(20, 70)
    taken.collector.wait_durable(0)
    assert taken.collector.have("S") == [str(number) for number in range(30, 60)]
    assert len(rows) == 51 and taken.work.found == 30


def test_pages_that_overlap_store_each_trade_once():
    taken = Taken(IdKind.UNIQUE)
    taken.take(30, 45)
    taken.take(40, 59)
    taken.collector.wait_durable(0)
    assert len(taken.collector.have("S")) == 30 == len(set(taken.collector.have("S")))


def test_nothing_is_stored_once_the_collector_stops():
    taken = Taken(stopping=True)
    with pytest.raises(Stopping):
        taken.take(30, 40)
    assert not taken.collector.waiting


def test_stored_trades_that_an_answer_lacks_are_counted():
    taken = Taken(IdKind.UNIQUE)
    taken.collector.live(taken.rows[24:29])
    taken.rows = [row for row in taken.rows if row is not taken.rows[26]]
    taken.take(20, 40)
    assert taken.intake.lacking == 1


@pytest.mark.parametrize("kind", [IdKind.CONTIGUOUS, IdKind.UNIQUE])
def test_a_trade_of_the_stream_that_comes_during_the_second_look_up_is_stored_once(kind):
    taken = Taken(kind)
    collector = taken.collector
    collector.live(taken.rows[:29])
    collector.live(taken.rows[59:])
    collector.ingest.dedupe.observe(collector.batch_of([taken.rows[39]], taken.history.venue))  # seen, and dropped
    looks = []

    def find(*arguments: Any) -> Any:
        found = collector.find(*arguments)
        looks.append(arguments)
        if len(looks) == 2:  # behind what it has found
            late = collector.batch_of([taken.rows[44]], taken.history.venue)
            collector.ingest.dedupe.observe(late)
            collector.waiting.append(late)
        return found

    taken.intake._stores = dataclasses.replace(collector.means.stores, stored=find)
    taken.take(30, 59)
    collector.wait_durable(0)
    ids = collector.have("S")
    assert len(looks) == 2 and len(ids) == 99 == len(set(ids))


def test_a_trade_that_the_history_leaves_out_is_kept_when_the_stream_brings_it_late():
    taken = Taken(skips_ids=True)
    taken.collector.live(taken.rows[:29])
    late = taken.rows.pop(39)
    taken.take(20, 58)
    taken.collector.wait_durable(0)
    assert "40" not in taken.collector.have("S") and not taken.intake.gaps
    taken.collector.live([late])
    assert taken.collector.have("S").count("40") == 1


def test_missing_trades_before_the_gap_that_the_history_shows_are_a_gap_where_it_may_leave_ids_out():
    taken = Taken(skips_ids=True)
    taken.collector.live(taken.rows[:24])  # the connection stood until the 30th, and brought no more than these
    taken.take(20, 58)
    (gap,) = taken.intake.gaps
    assert (gap.first_id, gap.last_id, gap.state) == (25, 29, GapState.OPEN)
