"""Minutes of trades are complete by the records, and what no place holds is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.candle_history import mark_of
from pumpwatch.market.candle_reader import CandleReader
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.journal_follower import BEGINS, MARK
from pumpwatch.market.known_minutes import outside
from pumpwatch.market.minute_verdicts import MinuteEvidence
from pumpwatch.model import Gap
from pumpwatch.store.coverage import Watched
from tests.market.market_parts import C0, KeptTrades, minute, trades_at
from tests.market.memory_store import MemoryStore
from tests.trades import VENUES

CLOCK = FakeClock()
NOW = CLOCK.now_ns()
LAST = NOW // MINUTE_NS  # the running minute


def at(minute: int) -> int:
    return (LAST + minute) * MINUTE_NS


def records(*gaps: tuple[int, int]) -> Callable[[int, int], MinuteEvidence]:
    found = [Gap(exchange="binance", market_type="spot", symbol="C0USDT", from_ns=at(first), to_ns=at(end), reason="cut")
             for first, end in gaps]
    watched = {VENUES[0]: [Watched(*VENUES[0], 0, frozenset({"C0USDT"}))]}
    return lambda start_ns, end_ns: MinuteEvidence({VENUES[0]: found}, {}, watched)


def each_minute(first: int) -> KeptTrades:
    return KeptTrades(trades_at(*((at(number), 1.0, 1.0) for number in range(first, 1))))


def test_a_minute_is_complete_once_it_ended_two_minutes_ago_and_no_gap_touches_it() -> None:
    reader = CandleReader(each_minute(-9), None, CLOCK, records=records((-6, -5)))
    rows = reader.read([0], MINUTE, at(-9), NOW).rows
    assert [(at_ns // MINUTE_NS - LAST, complete) for at_ns, complete in zip(
        rows.timestamp.tolist(), rows.complete.tolist(), strict=True)] == [
        (-9, True), (-8, True), (-7, True), (-6, False), (-5, True), (-4, True), (-3, True), (-2, False), (-1, False), (0, False)]


def test_times_that_nobody_recorded_and_that_are_not_kept_are_named() -> None:
    store = MemoryStore()
    trades = each_minute(-9)
    ask = CandleReader(trades, store, CLOCK, records=records())
    assert ask.read([0], MINUTE, at(-20), NOW).not_covered == [(C0, at(-20), at(-9))]
    store.write(MINUTE, [C0], minute(at(-18), 1.0), {BEGINS: str(LAST - 19), MARK: f"1 {LAST - 12}"})
    found = CandleReader(trades, store, CLOCK, records=records((-16, -15), (-7, -6))).read([0], MINUTE, at(-20), NOW)
    assert found.not_covered == [(C0, at(-20), at(-19)), (C0, at(-16), at(-15)), (C0, at(-12), at(-9))], "a candle says it itself"
    store.write(MINUTE, [C0], CandleColumns.empty(), {mark_of(C0): f"[[{LAST - 20},{LAST - 10}]]"})
    found = CandleReader(trades, store, CLOCK, records=records()).read([0], MINUTE, at(-20), NOW)
    assert found.not_covered == [(C0, at(-10), at(-9))]


def test_a_longer_candle_with_a_minute_that_is_not_known_is_not_complete() -> None:
    start = -30 - LAST % 15  # of 15 minutes that are over
    trades = KeptTrades(trades_at((at(start - 1), 1.0, 1.0), (at(start), 2.0, 1.0), (at(start + 9), 1.0, 1.0)))
    for given, complete in ((records(), True), (records((start + 7, start + 8)), False)):
        rows = CandleReader(trades, None, CLOCK, records=given).read([0], "15m", at(start), NOW).rows
        assert (rows.timestamp.tolist(), rows.complete.tolist()) == ([at(start)], [complete])


def test_records_that_cannot_be_read_are_a_problem_and_nothing_is_complete() -> None:
    def refuse(start_ns: int, end_ns: int) -> MinuteEvidence:
        raise StorageError("the ledger is locked")

    found = CandleReader(each_minute(-9), None, CLOCK, records=refuse).read([0], MINUTE, at(-9), NOW)
    assert found.problems == ["the ledger is locked"] and not found.rows.complete.any()


def test_after_the_end_of_the_collector_nothing_is_known() -> None:
    def ended(start_ns: int, end_ns: int) -> MinuteEvidence:
        return replace(records()(start_ns, end_ns), until_ns=at(-5) + 7)

    found = CandleReader(each_minute(-9), None, CLOCK, records=ended).read([0], MINUTE, at(-9), NOW)
    assert found.rows.complete.tolist() == [True] * 4 + [False] * 6
    quiet = KeptTrades(trades_at((at(-9), 1.0, 1.0)))
    found = CandleReader(quiet, None, CLOCK, records=ended).read([0], MINUTE, at(-9), NOW)
    assert found.not_covered == [(C0, at(-5), at(0))]


def test_parts_outside_of_candles() -> None:
    rows = CandleColumns.concat([minute(at(-9), 1.0), minute(at(-8), 1.0), minute(at(-5), 1.0)])
    assert outside([(at(-10), at(-4))], rows, MINUTE_NS) == [(at(-10), at(-9)), (at(-7), at(-5))]
    assert outside([(at(-9), at(-7))], rows, MINUTE_NS) == []
