"""Tickers from recorded trades: the price of the newest trade, and the 24-hour figures of complete candles.

If the candles are not complete, the 24-hour figures are the venue's, cached or requested; the answer says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.market.answers import Found, SymbolStats
from pumpwatch.market.last_trades import Last
from pumpwatch.market.memory_cache import MemoryCache
from pumpwatch.ticker import Ticker

RECENT_S = 300.0  # a ticker of an older trade is asked for
DAY_S = 60.0  # 24 hours are computed again after so long
DAYS_BYTES = 4 * 1024 * 1024
STATS_BYTES = 150

LastOf = Callable[[Sequence[int]], Mapping[int, Last]]
DayOf = Callable[[Sequence[int]], Mapping[int, SymbolStats]]  # of those that are known


class OwnTickers:
    """Makes tickers from recorded trades."""

    def __init__(self, last: LastOf, day: DayOf, clock: Clock) -> None:
        self._last, self._day, self._clock = last, day, clock
        self._days = MemoryCache(DAYS_BYTES, DAY_S, clock, lambda stats: STATS_BYTES)

    def prices(self, ids: Sequence[int]) -> dict[int, Last]:
        """Return the newest trade of each instrument that has traded within RECENT_S."""
        since_ns = self._clock.now_ns() - int(RECENT_S * NS_PER_S)
        return {number: last for number, last in self._last(ids).items() if last.at_ns >= since_ns}

    def days(self, ids: Sequence[int]) -> dict[int, tuple[SymbolStats, int]]:
        """Return the complete 24 hours of instruments, each with the time when they ended."""
        kept: dict[int, Any] = {number: self._days.get(str(number)) for number in ids}
        missing = [number for number, found in kept.items() if found is None]
        made, now_ns = self._day(missing) if missing else {}, self._clock.now_ns()
        for number in missing:
            self._days.put(str(number), made.get(number), now_ns)
            kept[number] = made.get(number), now_ns
        return {number: (stats, at_ns) for number, (stats, at_ns) in kept.items() if stats is not None and stats.complete}

    def of_candles(self, name: tuple[str, str, str], last: Last, stats: SymbolStats, at_ns: int) -> Found[Ticker]:
        """Return the ticker of a trade and of 24 hours that ended at `at_ns`."""
        ticker = Ticker(
            price=last.price, at_ns=last.at_ns, open_24h=stats.open, high=max(stats.high, last.price),
            low=min(stats.low, last.price), volume=stats.volume, quote_volume=stats.quote_volume, trades=stats.trades)
        return Found(*name, ticker, last.source, self._age_s(last.at_ns), day_source="candles", day_age_s=self._age_s(at_ns))

    def of_venue(self, last: Last, found: Found[Ticker]) -> Found[Ticker]:
        """Return a venue's ticker with the price of a newer trade; without a venue's one, the price alone, and the reason."""
        name, value = (found.exchange, found.market_type, found.symbol), found.value
        age_s = self._age_s(last.at_ns)
        if value is None:
            return Found(*name, Ticker(price=last.price, at_ns=last.at_ns), last.source, age_s,
                         f"the last 24 hours: {found.problem}")
        if last.at_ns < (value.at_ns or self._clock.now_ns() - int(found.age_s * NS_PER_S)):
            return replace(found, day_source="venue", day_age_s=found.age_s)
        price, fresh = last.price, found.source == "venue"
        ticker = replace(
            value, price=price, at_ns=last.at_ns, high=max(value.high, price), low=min(value.low, price),  # nan stays
            bid=value.bid if fresh else math.nan, ask=value.ask if fresh else math.nan)
        return Found(*name, ticker, last.source, age_s, day_source="venue", day_age_s=found.age_s)

    def _age_s(self, at_ns: int) -> float:
        return max(0.0, (self._clock.now_ns() - at_ns) / NS_PER_S)
