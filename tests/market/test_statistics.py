"""24 hours are counted exactly: trades of the minutes at both ends count only where they are inside."""

from __future__ import annotations

from pumpwatch.clock import FakeClock
from pumpwatch.market.candle_reader import CandleReader
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.statistics import DAY_NS, stats_of
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
