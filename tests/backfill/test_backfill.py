"""The whole stage, turn by turn: it takes up open gaps, works them off in order, and says how far it is."""

from __future__ import annotations

from typing import Any

import pytest

from pumpwatch.backfill.backfill import AFTER_ERROR_S, GONE_AFTER, LONGEST_PAUSE_S, Backfill
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import GapState, IdKind
from pumpwatch.records import NOT_RUNNING, Records
from tests.backfill.scripted import START_NS, MemoryCollector, Row, ScriptedHistory, gap_of, scripted_venue, trade

VOLUMES = {"BUSY": 1000.0, "SLOW": 10.0, "RARE": 0.0}


def collector_of(kind: IdKind = IdKind.CONTIGUOUS, symbols: dict[str, float] | None = None, trades: int = 100,
                 **options: Any) -> MemoryCollector:
    """Return a collector of one venue whose symbols trade each second, 120 s after the first trade; nothing is stored."""
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue(kind=kind)
    rows = {symbol: [trade(symbol, number, kind=kind) for number in range(1, trades)] for symbol in symbols or VOLUMES}
    return MemoryCollector([ScriptedHistory(venue, rows, clock)], clock, symbols or VOLUMES, **options)


def part(collector: MemoryCollector, symbol: str, first: int, last: int) -> list[Row]:
    """Return the trades of a symbol with these numbers."""
    return collector.histories[0].rows[symbol][first - 1:last]


def cut(collector: MemoryCollector, symbols: tuple[str, ...] = tuple(VOLUMES)) -> Any:
    """Miss the trades from 30 s to 60 s on a connection, and record its gap."""
    for symbol in symbols:
        collector.live(part(collector, symbol, 1, 29))
        collector.live(part(collector, symbol, 60, 99))
    gap = gap_of(collector.histories[0].venue, 29.5, 59.5, symbols=symbols)
    collector.record(Records(gaps=[gap]))
    return gap


def turn(collector: MemoryCollector, stage: Backfill, works: int = 1000) -> list[str]:
    """Look at the ledger, and work as long as something is to be done now; return the symbols in order."""
    done: list[str] = []
    stage.look()
    for queue in stage._queues:
        while len(done) < works and (work := queue.take_next()) is not None:
            done.append(work.symbol)
            queue.give_back(work, stage.attempt(queue, work))
            stage.look()
    return done


def settle(collector: MemoryCollector, stage: Backfill) -> None:
    """Let the gaps settle."""
    stage.look()
    collector.clock.advance(6.0)


def states(collector: MemoryCollector) -> set[GapState]:
    return {gap.state for gap in collector.gaps.values()}


def test_a_cut_of_some_symbols_is_filled_and_the_busiest_come_first():
    collector = collector_of()
    cut(collector)
    stage = collector.stage()
    settle(collector, stage)
    done = turn(collector, stage)
    assert done == ["BUSY", "SLOW", "RARE"]  # their jumps; then the connection's gap needs no request
    assert states(collector) == {GapState.FILLED}
    for symbol in VOLUMES:
        assert collector.have(symbol) == [str(number) for number in range(1, 100)]
    stage.look()
    assert stage.figures() | {"requests": 0} == {
        "enabled": True, "done": 6, "left": 0, "left_s": 0, "trades": 90, "requests": 0, "open": 0, "filled": 4, "lost": 0,
        "looked": True}


def test_the_coin_of_a_listing_window_comes_first():
    collector = collector_of(IdKind.UNIQUE)
    cut(collector)
    collector.windows = {collector.accesses[0].ids["RARE"]: 0}
    stage = collector.stage()
    settle(collector, stage)
    assert turn(collector, stage) == ["RARE", "BUSY", "SLOW"]


def test_a_gap_that_still_grows_is_left_alone():
    collector = collector_of(IdKind.UNIQUE)
    gap = cut(collector)
    stage = collector.stage()
    for second in range(20):
        collector.record(Records(gaps=[gap_of(collector.histories[0].venue, 29.5, 59.5 + second, symbols=gap.symbols)]))
        collector.clock.advance(1.0)
        assert turn(collector, stage) == []
    collector.clock.advance(6.0)
    assert len(turn(collector, stage)) == 3


def test_a_gap_that_grows_later_is_open_again_and_its_fills_are_void():
    collector = collector_of(IdKind.UNIQUE)
    gap = cut(collector)
    stage = collector.stage()
    settle(collector, stage)
    assert len(turn(collector, stage)) == 3 and states(collector) == {GapState.FILLED}
    collector.record(Records(gaps=[gap_of(collector.histories[0].venue, 29.5, 80.0, symbols=gap.symbols)]))
    settle(collector, stage)
    assert len(turn(collector, stage)) == 3 and states(collector) == {GapState.FILLED}
    assert {fill.gap.to_ns for fill in collector.fills.values()} == {START_NS + 80 * NS_PER_S}


def test_a_gap_that_grows_during_the_work_on_it_voids_the_result():
    collector = collector_of(IdKind.UNIQUE)
    gap = cut(collector)
    stage = collector.stage()
    settle(collector, stage)
    stage.look()
    queue = stage._queues[0]
    work = queue.take_next()
    assert work is not None
    fill = stage.attempt(queue, work)
    collector.record(Records(gaps=[gap_of(collector.histories[0].venue, 29.5, 80.0, symbols=gap.symbols)]))
    stage.look()
    queue.give_back(work, fill)
    assert fill is not None and not collector.fills


def test_a_restart_goes_on_where_the_last_run_ended():
    collector = collector_of(IdKind.UNIQUE)
    cut(collector)
    stage = collector.stage()
    settle(collector, stage)
    assert turn(collector, stage, works=1) == ["BUSY"]
    again = collector.stage()
    settle(collector, again)
    assert turn(collector, again) == ["SLOW", "RARE"]
    assert states(collector) == {GapState.FILLED} and len(collector.fills) == 3


def test_downtime_is_filled_for_each_symbol_of_the_venue():
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    venue = scripted_venue()
    rows = {symbol: [trade(symbol, number) for number in range(1, 100)] for symbol in VOLUMES}
    last = {("alpha", "spot", symbol): (29, START_NS + 29 * NS_PER_S) for symbol in VOLUMES}
    collector = MemoryCollector([ScriptedHistory(venue, rows, clock)], clock, VOLUMES, last)
    for symbol in VOLUMES:
        collector.live(part(collector, symbol, 1, 29), earlier=True)
    down = gap_of(venue, 28.0, 70.0, reason=f"{NOT_RUNNING}, after it was killed")
    collector.record(Records(gaps=[down]))
    collector.live(part(collector, "BUSY", 70, 99))  # a jump
    stage = collector.stage()
    settle(collector, stage)
    turn(collector, stage)
    assert states(collector) == {GapState.FILLED}
    assert collector.have("BUSY") == [str(number) for number in range(1, 100)]
    for symbol in ("SLOW", "RARE"):  # they have not traded since, as the stream has it: up to the end of the gap
        assert collector.have(symbol) == [str(number) for number in range(1, 70)]
        assert collector.live(part(collector, symbol, 70, 99)) == []
    assert len(collector.fills) == 4


def test_symbols_whose_ids_continue_across_the_downtime_need_no_request():
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    last = {("alpha", "spot", symbol): (29, START_NS + 29 * NS_PER_S) for symbol in VOLUMES}
    rows = {symbol: [trade(symbol, number) for number in range(1, 30)] + [trade(symbol, 30, every_s=3.0)] for symbol in VOLUMES}
    collector = MemoryCollector([ScriptedHistory(scripted_venue(), rows, clock)], clock, VOLUMES, last)
    collector.record(Records(gaps=[gap_of(scripted_venue(), 29.5, 70.0, reason=NOT_RUNNING)]))
    for symbol in VOLUMES:
        collector.live(rows[symbol][-1:])
    stage = collector.stage()
    settle(collector, stage)
    assert turn(collector, stage) == [] and states(collector) == {GapState.FILLED}
    assert not collector.histories[0].asked and {fill.by for fill in collector.fills.values()} == {"id"}


def test_a_venue_that_fails_is_asked_again_later_and_others_meanwhile(caplog):
    collector = collector_of(IdKind.UNIQUE)
    cut(collector)
    stage = collector.stage()
    settle(collector, stage)
    collector.histories[0].fails = 1
    assert turn(collector, stage) == ["BUSY", "SLOW", "RARE"]
    assert turn(collector, stage) == [] and GapState.OPEN in states(collector)
    collector.clock.advance(LONGEST_PAUSE_S)
    assert turn(collector, stage) == ["BUSY"] and states(collector) == {GapState.FILLED}
    assert caplog.text.count("history unavailable") == 1


def test_a_symbol_that_is_listed_no_more_is_given_up_and_one_that_is_listed_is_not():
    collector = collector_of(IdKind.UNIQUE, {"BUSY": 10.0, "SLOW": 1.0})
    cut(collector, ("BUSY", "SLOW"))
    collector.unlisted = {"SLOW"}
    stage = collector.stage()
    settle(collector, stage)
    collector.histories[0].spoil = lambda rows: b"no such symbol"
    for _ in range(GONE_AFTER):
        turn(collector, stage)
        collector.clock.advance(LONGEST_PAUSE_S)
    (fill,) = collector.fills.values()
    assert (fill.symbol, fill.state) == ("SLOW", GapState.LOST) and fill.reason.startswith("the symbol is not listed any more")


def test_a_symbol_that_nobody_knows_is_lost():
    collector = collector_of(IdKind.UNIQUE)
    gap = gap_of(collector.histories[0].venue, 29.5, 59.5, symbols=("GONE",))
    collector.record(Records(gaps=[gap]))
    stage = collector.stage()
    settle(collector, stage)
    turn(collector, stage)
    assert states(collector) == {GapState.LOST}


def test_an_error_of_ours_does_not_take_the_same_work_again_at_once():
    collector = collector_of(IdKind.UNIQUE)
    cut(collector)
    stage = collector.stage()
    settle(collector, stage)
    stage.look()
    body = stage.workers()[0][1]

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    collector.ingest.compare = fail  # type: ignore[method-assign,assignment]
    for _ in range(3):
        with pytest.raises(RuntimeError):
            body()
    assert stage._queues[0].take_next() is None
    collector.clock.advance(AFTER_ERROR_S)
    assert stage._queues[0].take_next() is not None


def test_a_stage_that_is_switched_off_counts_gaps_and_touches_none():
    collector = collector_of(IdKind.UNIQUE)
    cut(collector)
    stage = Backfill(collector.accesses, collector.stage()._sources, collector.means, enabled=False)
    settle(collector, stage)
    assert turn(collector, stage) == [] and stage.workers() == []
    assert stage.gap_counts("alpha", "spot") == {"open": 1, "filled": 0, "lost": 0}


def test_a_full_roster_is_worked_off_with_its_progress_and_an_estimate():
    """5,712 symbols on twelve venues of every kind, after a minute of downtime."""
    clock = FakeClock(START_NS + 120 * NS_PER_S)
    symbols = {f"S{number}": 10_000.0 - number for number in range(476)}
    kinds = [IdKind.CONTIGUOUS] * 6 + [IdKind.MONOTONIC] * 3 + [IdKind.UNIQUE, IdKind.NONE, IdKind.NONE]
    histories, last = [], {}
    for place, kind in enumerate(kinds):
        pages = {} if kind is IdKind.CONTIGUOUS else {"pages": False, "rows_per_request": 100}
        venue = scripted_venue(f"venue{place}", kind, **pages)
        rows = {symbol: [trade(symbol, number, every_s=10.0, kind=kind) for number in range(1, 12)] for symbol in symbols}
        histories.append(ScriptedHistory(venue, rows, clock))
        last |= {(venue.exchange, "spot", symbol): (int(rows[symbol][2]["id"]) if place < 9 else -1, START_NS + 30 * NS_PER_S)
                 for symbol in symbols}
    collector = MemoryCollector(histories, clock, symbols, last)
    for place, history in enumerate(histories):
        collector.live([row for rows in history.rows.values() for row in rows[:3]], place, earlier=True)
        collector.record(Records(gaps=[gap_of(history.venue, 31.0, 90.5, reason=NOT_RUNNING)]))
    collector.stored = [type(collector.stored[0]).concat(collector.stored)]
    stage = collector.stage()
    settle(collector, stage)
    stage.look()
    before = stage.figures()
    assert before["left"] == 5712 and before["left_s"] > 0 and before["done"] == 0
    assert turn(collector, stage, works=50)[:3] == ["S0", "S1", "S2"]
    after = stage.figures()
    assert after["done"] == 50 and after["left"] == 5662 and after["left_s"] <= before["left_s"]


def test_a_history_of_newest_rows_alone_is_looked_at_early_and_once_more():
    """The first look stores the trades that the history forgets before the second one."""
    clock = FakeClock(START_NS + 62 * NS_PER_S)
    venue = scripted_venue(kind=IdKind.MONOTONIC, pages=False, rows_per_request=40)
    rows = {"S": [trade("S", number, kind=IdKind.MONOTONIC) for number in range(1, 200)]}
    collector = MemoryCollector([ScriptedHistory(venue, rows, clock)], clock, {"S": 1.0})
    collector.histories[0].lag_s = 2.0
    collector.live(part(collector, "S", 1, 29))
    collector.live(part(collector, "S", 60, 62))
    collector.record(Records(gaps=[gap_of(venue, 29.5, 59.5, symbols=("S",))]))
    stage = collector.stage()
    stage.look()
    clock.advance(1.6)
    assert turn(collector, stage) == ["S"] and states(collector) == {GapState.OPEN}
    assert collector.have("S")[:62] == [str(3 * number) for number in range(1, 63)]
    clock.advance(6.0)  # its oldest row is 31 by now
    collector.live(part(collector, "S", 63, 68))
    assert turn(collector, stage) == ["S"] and states(collector) == {GapState.FILLED}
