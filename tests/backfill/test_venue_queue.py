"""The queue of one venue: what is taken, when, and by whom."""

from __future__ import annotations

from pumpwatch.backfill.venue_queue import VenueQueue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import Gap, GapState, IdKind
from pumpwatch.records import GapFill
from tests.backfill.scripted import START_NS, MemoryCollector, ScriptedHistory, gap_of, scripted_venue

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
