"""24 hours are counted exactly: trades of the minutes at both ends count only where they are inside."""

from __future__ import annotations

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.candle_reader import CandleReader
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.journal_follower import BEGINS, MARK
from pumpwatch.market.minute_verdicts import MinuteEvidence
from pumpwatch.market.statistics import DAY_NS, stats_of
from pumpwatch.store.coverage import Watched
from tests.market.market_parts import C0, KeptTrades, minute, trades_at
from tests.market.memory_store import MemoryStore

CLOCK = FakeClock()
NOW = CLOCK.now_ns()
FROM = NOW - DAY_NS
FIRST_WHOLE = -(-FROM // MINUTE_NS) * MINUTE_NS


def test_a_trade_counts_from_exactly_24_hours_ago_until_exactly_now() -> None:
    rows = [(FROM - 1, 99.0, 1.0), (FROM, 10.0, 2.0), (FIRST_WHOLE + MINUTE_NS, 12.0, 1.0), (NOW - 1, 11.0, 3.0),
            (NOW, 98.0, 1.0)]
    found = stats_of(CandleReader(KeptTrades(trades_at(*rows)), None, CLOCK), 0, FROM, NOW, [])
    assert found is not None
    assert (found.open, found.high, found.low, found.close) == (10.0, 12.0, 10.0, 11.0)
    assert (found.volume, found.quote_volume, found.trades, found.taker_buy_volume) == (6.0, 65.0, 3, 6.0)
    assert round(found.change, 12) == 0.1 and found.exact and found.first_ns == FROM


def test_whole_minutes_come_from_the_store() -> None:
    store = MemoryStore()
    store.write("1m", [C0], minute(FIRST_WHOLE, 50.0))
    found = stats_of(CandleReader(KeptTrades(trades_at((NOW - 1, 11.0, 1.0))), store, CLOCK), 0, FROM, NOW, [])
    assert found is not None and (found.open, found.high, found.volume, found.trades) == (50.0, 51.0, 4.0, 3)
    assert not found.exact and not found.complete, "trades of the first minute are not there"


def test_nothing_known_is_told_as_such() -> None:
    assert stats_of(CandleReader(KeptTrades(), None, CLOCK), 0, FROM, NOW, []) is None


class BrokenStore(MemoryStore):
    def read(self, *_: object, **__: object) -> CandleColumns:
        raise StorageError("a block of candles is damaged")


def watched(start_ns: int, end_ns: int) -> MinuteEvidence:
    return MinuteEvidence({}, {}, {C0[:2]: [Watched(*C0[:2], 0, frozenset({C0[2]}))]})


def test_figures_are_not_complete_where_the_store_or_a_file_of_trades_cannot_be_read() -> None:
    marks = {BEGINS: "0", MARK: f"7 {NOW // MINUTE_NS}"}
    for store, unreadable, complete in (
            (MemoryStore(), [], True), (BrokenStore(), [], False), (MemoryStore(), ["locked"], False)):
        store.write("1m", [C0], CandleColumns.empty(), marks)
        trades = KeptTrades(trades_at((FROM, 10.0, 2.0), (NOW - 1, 11.0, 1.0)))
        trades.unreadable = unreadable
        found = stats_of(CandleReader(trades, store, CLOCK, records=watched), 0, FROM, NOW, [])
        assert found is not None and found.complete == complete


def test_figures_are_not_complete_where_a_late_trade_is_all_that_is_left_of_the_first_hours() -> None:
    trades = KeptTrades(trades_at((FROM, 10.0, 2.0), (NOW - 1, 11.0, 1.0)))
    trades.whole_ns = FROM - MINUTE_NS
    reader = CandleReader(trades, None, CLOCK, records=watched)
    assert [stats.complete for stats in [stats_of(reader, 0, FROM, NOW, [])] if stats] == [True]
    trades.whole_ns = NOW - DAY_NS // 2  # the files of before have expired
    assert [(stats.complete, stats.exact) for stats in [stats_of(reader, 0, FROM, NOW, [])] if stats] == [(False, False)]
