"""The queue of one venue: what is taken, when, and by whom."""

from __future__ import annotations

import math
from dataclasses import replace

import gevent
import pytest

from pumpwatch.backfill import venue_queue
from pumpwatch.backfill.intake import Unsettled
from pumpwatch.backfill.venue_queue import VenueQueue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.downtime import downtime
from pumpwatch.model import Gap, GapState, IdKind, Instrument
from pumpwatch.records import GapFill, Records
from tests.backfill.scripted import START_NS, MemoryCollector, ScriptedHistory, gap_of, scripted_venue, trade

SYMBOLS = {"A": 3.0, "B": 2.0, "C": 1.0}


def queue_of(*gaps: Gap, settled: bool = True) -> tuple[VenueQueue, MemoryCollector]:
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    collector = MemoryCollector([ScriptedHistory(scripted_venue(kind=IdKind.UNIQUE), {}, clock)], clock, SYMBOLS)
    queue = VenueQueue(collector.accesses[0], collector.means, lambda number: list(SYMBOLS.values())[number])
    queue.refresh(gaps, [])
    if settled:
        clock.advance(6.0)
        queue.split({})
    return queue, collector


VENUE = scripted_venue(kind=IdKind.UNIQUE)


def fill(gap: Gap, symbol: str, state: GapState = GapState.FILLED) -> GapFill:
    return GapFill(gap=gap, symbol=symbol, state=state, found=1, missing=0, by="overlap")


def test_a_symbol_is_worked_on_by_one_worker_at_a_time():
    queue, _ = queue_of(gap_of(VENUE, 10, 20, symbols=("A",)), gap_of(VENUE, 30, 40, symbols=("A", "B")))
    first, second = queue.take_next(), queue.take_next()
    assert first is not None and second is not None and (first.symbol, second.symbol) == ("A", "B")
    assert queue.take_next() is None
    queue.give_back(first, None)
    first.not_before = 0.0
    assert queue.take_next() is first


def test_a_gap_of_the_whole_venue_is_closed_when_its_last_symbol_is_done():
    gap = gap_of(VENUE, 10, 20)
    queue, collector = queue_of(gap)
    for state in (GapState.FILLED, GapState.LOST, GapState.FILLED):
        assert not collector.gaps
        work = queue.take_next()
        assert work is not None
        queue.give_back(work, fill(gap, work.symbol, state))
    assert [found.state for found in collector.gaps.values()] == [GapState.LOST] and queue.left == 0 and queue.done == 3


def test_others_run_while_one_gap_of_many_symbols_is_split(monkeypatch):
    monkeypatch.setattr(venue_queue, "LONGEST_RUN_S", -1.0)  # each time that it may pause it does
    queue, collector = queue_of(gap_of(VENUE, 10, 20), settled=False)
    collector.clock.advance(6.0)
    turns: list[int] = []

    def other() -> None:
        while True:
            turns.append(queue.left)
            gevent.sleep()

    beside = gevent.spawn(other)
    queue.split({})
    beside.kill()
    assert {1, 2, 3} <= set(turns)


def test_a_closed_gap_is_not_taken_up_again_before_the_ledger_shows_it():
    gap = gap_of(VENUE, 10, 20, symbols=("A",))
    queue, collector = queue_of(gap)
    work = queue.take_next()
    assert work is not None
    queue.give_back(work, fill(gap, "A"))
    queue.refresh([gap], [])
    collector.clock.advance(6.0)
    queue.split({})
    assert queue.take_next() is None


def test_what_an_earlier_run_did_is_left_out():
    gap = gap_of(VENUE, 10, 20)
    queue, collector = queue_of(settled=False)
    queue.refresh([gap], [fill(gap, "A"), fill(gap, "B", GapState.OPEN)])
    collector.clock.advance(6.0)
    queue.split({})
    assert sorted(work.symbol for work in queue.waiting()) == ["B", "C"]


def test_nothing_is_split_before_the_venue_has_given_its_symbols():
    queue, collector = queue_of(gap_of(VENUE, 10, 20), settled=False)
    listed = [False]
    queue.access = type(queue.access)(*[getattr(queue.access, name) if name != "listed" else lambda: listed[0]
                                        for name in queue.access.__dataclass_fields__])
    collector.clock.advance(6.0)
    queue.split({})
    assert queue.left == 0
    listed[0] = True
    queue.split({})
    assert queue.left == 3


def test_ids_that_were_seen_prove_nothing_before_they_are_durable():
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue()
    rows = [trade("A", number) for number in range(1, 100)]
    collector = MemoryCollector([ScriptedHistory(venue, {"A": rows}, clock)], clock, {"A": 1.0})
    collector.live(rows[:29])
    (jump,) = collector.live(rows[59:])
    cut = gap_of(venue, 29.5, 59.5, symbols=("A",))
    collector.record(Records(gaps=[cut]))
    stage = collector.stage()
    stage.look()
    clock.advance(6.0)
    stage.look()
    completed = collector.ingest.add_history(0, collector.batch_of(rows[29:59], venue))  # on its way to the disk
    collector.put(collector.batch_of(rows[29:59], venue), Records())
    collector.durable = False
    for _ in range(3):
        stage.look()
        clock.advance(10.0)
    assert [gap.first_id for gap in completed] == [jump.first_id] and not collector.fills and len(collector.open_gaps()) == 2
    collector.durable = True
    stage.look()
    assert [fill.state for fill in collector.fills.values()] == [GapState.FILLED] and not collector.waiting
    assert [gap.first_id for gap in collector.open_gaps()] == [jump.first_id]


def test_a_fill_whose_trades_do_not_become_durable_fills_nothing():
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue(rows_per_request=100)
    rows = [trade("A", number) for number in range(1, 100)]
    collector = MemoryCollector([ScriptedHistory(venue, {"A": rows}, clock)], clock, {"A": 1.0})
    collector.live(rows[:29])
    collector.live(rows[59:])
    collector.record(Records(gaps=[gap_of(venue, 29.5, 59.5, symbols=("A",))]))
    kept = collector.put

    def put(batch, records):
        kept(batch, records)
        collector.durable = False  # the disk refuses from now on

    object.__setattr__(collector.means.stores, "put", put)
    stage = collector.stage()
    stage.look()
    clock.advance(6.0)
    stage.look()
    queue = stage._queues[0]
    while (work := queue.take_next()) is not None:
        work.not_before = clock.monotonic() + 60.0
        queue.give_back(work, stage.attempt(queue, work))
        stage.look()
    assert sum(map(len, collector.waiting)) == 30 and not collector.fills
    assert {gap.state for gap in collector.gaps.values()} == {GapState.OPEN}


def test_a_symbol_that_is_listed_later_does_not_keep_an_older_gap_open():
    gap = gap_of(VENUE, 10, 20)
    queue, collector = queue_of(gap)
    collector.catalogue.add((VENUE.exchange, VENUE.market_type), Instrument(symbol="D", base="D", quote="USDT", volume=1.0))
    while (work := queue.take_next()) is not None:
        queue.give_back(work, fill(gap, work.symbol))
    assert [found.state for found in collector.gaps.values()] == [GapState.FILLED] and "D" in queue.access.ids


def test_what_is_done_is_not_taken_again_and_a_gap_that_grew_is_taken_as_it_is_now():
    gap, other = gap_of(VENUE, 10, 20, symbols=("A", "B")), gap_of(VENUE, 30, 40, symbols=("C",))
    queue, collector = queue_of(gap, other)
    work = queue.take_next()
    assert work is not None and work.symbol == "A"
    queue.give_back(work, fill(gap, "A"))
    grown = gap_of(VENUE, 10, 25, symbols=("A", "B"))
    queue.refresh([grown, other], [])
    assert [left.symbol for left in queue.waiting()] == ["C"]
    collector.clock.advance(6.0)
    queue.split({})
    taken = [queue.take_next() for _ in range(4)]
    assert [(found.symbol, found.gap.to_ns) for found in taken if found] == [
        ("A", grown.to_ns), ("B", grown.to_ns), ("C", other.to_ns)]


def newest_rows_only(rows: int) -> tuple[VenueQueue, MemoryCollector, ScriptedHistory]:
    """Return the queue of a venue that gives its newest rows alone, of a symbol that trades each second from 1 s on."""
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=rows)
    history = ScriptedHistory(venue, {"A": [trade("A", number, kind=IdKind.MONOTONIC) for number in range(1, 200)]}, clock)
    collector = MemoryCollector([history], clock, {"A": 1.0})
    return VenueQueue(collector.accesses[0], collector.means, lambda number: 1.0), collector, history


def test_newest_rows_are_asked_for_at_once_and_count_when_the_gap_has_grown():
    queue, collector, history = newest_rows_only(20)
    clock, venue = collector.clock, history.venue
    collector.live(history.rows["A"][:110])
    queue.refresh([gap_of(venue, 110.5, 119.5)], [])
    queue.split({})
    early = queue.take_next()
    assert early is not None
    with pytest.raises(Unsettled):
        collector.fill(early)
    queue.give_back(early, None)
    clock.advance(11.0)
    queue.refresh([gap_of(venue, 110.5, 130.5)], [])
    queue.split({})
    assert queue.take_next() is None  # it is still growing
    collector.live(history.rows["A"][130:])
    clock.advance(1.6)
    queue.split({})
    late = queue.take_next()
    assert late is not None and late is not early
    late.settled_at = clock.monotonic() - 6.0
    fill = collector.fill(late)
    assert fill.state is GapState.FILLED and len(collector.have("A")) == len(set(collector.have("A"))) == 199


def test_without_the_early_answer_the_same_gap_is_lost():
    queue, collector, history = newest_rows_only(20)
    collector.live(history.rows["A"][:110])
    collector.clock.advance(16.6)
    collector.live(history.rows["A"][134:])
    queue.refresh([gap_of(history.venue, 110.5, 134.5)], [])
    queue.split({})
    work = queue.take_next()
    assert work is not None
    work.settled_at = collector.clock.monotonic() - 6.0
    assert collector.fill(work).state is GapState.LOST


def test_what_was_read_of_newest_rows_before_a_kill_counts_after_it():
    _, collector, history = newest_rows_only(20)
    gap = gap_of(history.venue, 110.5, 116.5)
    collector.live(history.rows["A"][:110])
    early = collector.work(gap, "A")
    early.settled_at = collector.clock.monotonic()
    with pytest.raises(Unsettled):
        collector.fill(early)
    fills = list(collector.fills.values())
    assert [(fill.state, fill.found) for fill in fills] == [(GapState.OPEN, 6)]
    collector.clock.advance(60.0)  # the history does not reach the gap any more
    collector.live(history.rows["A"][116:])
    for known, state in ((fills, GapState.FILLED), ([], GapState.LOST)):
        collector.accesses[0].answers.drop("A")
        queue = VenueQueue(collector.accesses[0], collector.means, lambda number: 1.0)
        queue.refresh([gap], known)
        queue.split({})
        work = queue.take_next()
        assert work is not None
        work.settled_at = collector.clock.monotonic() - 6.0
        assert collector.fill(work).state is state


@pytest.mark.parametrize(("asked_at_s", "state"), [(138, GapState.FILLED), (140, GapState.LOST)])
def test_rows_behind_the_end_of_an_attempt_were_not_stored_and_count_as_unread(asked_at_s, state):
    _, collector, history = newest_rows_only(20)
    rows = history.rows["A"]
    collector.live(rows[:110])
    work = collector.work(gap_of(history.venue, 110.5, 122.0), "A")  # it was recorded 2 s ahead
    work.settled_at = collector.clock.monotonic()
    collector.accesses[0].share.whole.reserve(600.0)  # the request waits 5 s for its turn: the answer has rows of these
    with pytest.raises(Unsettled):
        collector.fill(work)
    assert collector.clock.now_ns() >= START_NS + 125 * NS_PER_S
    collector.live(rows[121:])
    collector.clock.advance(asked_at_s - 125.0)
    work.settled_at -= 10.0
    fill = collector.fill(work)
    assert fill.state is state
    assert (len(collector.have("A")) == len(rows)) is (state is GapState.FILLED)


def test_an_answer_with_holes_does_not_count_for_a_later_one_that_reaches_less_far():
    _, collector, history = newest_rows_only(20)
    rows, venue = history.rows["A"], history.venue
    collector.live(rows[:110] + rows[115:])
    work = collector.work(gap_of(venue, 110.5, 115.5), "A")
    history.spoil = lambda found: [row for row in found if row not in (rows[104], rows[112])]  # a stored one, and one of the gap
    with pytest.raises(Unsettled, match="proves nothing"):
        collector.fill(work)
    history.spoil = lambda found: found
    collector.clock.advance(13.0)  # its rows begin at 114 s
    fill = collector.fill(work)
    assert (fill.state, fill.found) == (GapState.LOST, 4) and not collector.fills


def test_the_newest_rows_of_an_early_answer_may_lack_one_of_them():
    _, collector, history = newest_rows_only(20)
    gap = gap_of(history.venue, 110.5, 119.5)
    collector.live(history.rows["A"][:110])
    early = collector.work(gap, "A")
    early.settled_at = collector.clock.monotonic()
    history.spoil = lambda rows: [row for row in rows if row["id"] != 3 * 118]  # it lags out of order
    with pytest.raises(Unsettled):
        collector.fill(early)
    history.spoil = lambda rows: rows
    collector.live(history.rows["A"][119:])
    collector.clock.advance(18.5)  # it does not reach that trade any more
    early.settled_at -= 6.0
    assert collector.fill(early).state is GapState.LOST


def test_what_is_filled_of_a_symbol_counts_for_its_other_gaps_of_which_nothing_was_read():
    first, other = gap_of(VENUE, 10, 20, symbols=("A",)), gap_of(VENUE, 15, 30, symbols=("A",))
    dropped = replace(gap_of(VENUE, 16, 30), reason="trades dropped")
    queue, collector = queue_of(first, other, dropped)
    while (work := queue.take_next()) is not None:
        work.not_before = collector.clock.monotonic() + 1
        queue.give_back(work, fill(work.gap, work.symbol) if work.gap == first else None)
    collector.clock.advance(2)
    filled = {}
    while (work := queue.take_next()) is not None:
        filled[work.gap] = work.filled
        work.not_before = math.inf
        queue.give_back(work, None)
    assert filled == {other: [(first.from_ns - 1, first.to_ns)], dropped: []}


def test_after_a_kill_only_the_time_behind_the_last_trade_counts_as_filled():
    killed = downtime(VENUE, START_NS + 100 * NS_PER_S, START_NS + 110 * NS_PER_S, clean=False)
    queue, _ = queue_of(killed)
    work = queue.take_next()
    queue.give_back(work, fill(killed, work.symbol))
    assert queue._filled == {work.symbol: [(START_NS + 100 * NS_PER_S, killed.to_ns)]}
    again, _ = queue_of(killed, settled=False)
    again.refresh([killed], [fill(killed, "A"), fill(killed, "B", GapState.LOST)])
    assert list(again._filled) == ["A"]


def test_workers_sleep_without_work_and_wake_when_some_comes_or_all_is_to_stop():
    queue, collector = queue_of()
    idle = gevent.spawn(queue.wait, 0.01)
    gevent.sleep(0.05)
    assert not idle.ready() and not queue.has_gaps
    queue.refresh([gap_of(VENUE, 10, 20, symbols=("A",))], [])
    collector.clock.advance(6.0)
    queue.split({})
    idle.get(timeout=30)
    gevent.spawn(queue.wait, 0.01).get(timeout=30)  # some is left: look again soon
    other, _ = queue_of()
    stopping = gevent.spawn(other.wait, 0.01)
    gevent.sleep(0)
    other.wake()
    stopping.get(timeout=30)
