"""A ticker of own trades joins the newest price with 24 hours, and computes these once a minute."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pumpwatch.clock import FakeClock
from pumpwatch.market.answers import Found, SymbolStats
from pumpwatch.market.last_trades import Last
from pumpwatch.market.own_tickers import DAY_S, OwnTickers
from pumpwatch.ticker import Ticker

NAME = ("binance", "spot", "C0USDT")


def test_24_hours_are_computed_once_a_minute_and_only_complete_ones_count() -> None:
    clock, asked = FakeClock(), list[list[int]]()

    def day(ids: Sequence[int]) -> dict[int, SymbolStats]:
        asked.append(list(ids))
        return {number: SymbolStats(0, 1, 0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 7.0, 8, True, number == 1)
                for number in ids if number < 3}

    own = OwnTickers(lambda ids: {}, day, clock)
    for _ in range(2):
        assert list(own.days([1, 2, 3])) == [1]
    clock.advance(DAY_S)
    stats, at_ns = own.days([1])[1]
    assert asked == [[1, 2, 3], [1]]
    found = own.of_candles(NAME, Last(clock.now_ns() - 10**9, 9.0), stats, at_ns)
    assert found.value is not None
    assert (found.value.high, found.value.low, found.value.open_24h, found.age_s) == (9.0, 1.0, 2.0, 1.0)


def test_a_price_within_a_kept_ticker_has_no_bid_and_ask_and_stays_within_high_and_low() -> None:
    clock = FakeClock()
    own, last = OwnTickers(lambda ids: {}, lambda ids: {}, clock), Last(clock.now_ns(), 9.0)
    kept = Found(*NAME, Ticker(price=2.0, high=3.0, bid=1.9, ask=2.1), "cache", 5.0)
    found = own.of_venue(last, kept)
    assert found.value is not None
    assert (found.value.price, found.value.high, found.source, found.day_age_s) == (9.0, 9.0, "memory", 5.0)
    assert math.isnan(found.value.bid) and math.isnan(found.value.ask) and math.isnan(found.value.low)
    older = own.of_venue(last._replace(at_ns=clock.now_ns() - 6 * 10**9), kept)
    assert older.value == kept.value and older.source == "cache"
