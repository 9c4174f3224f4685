"""The market data that all processes and hosts share in Redis."""

from __future__ import annotations

from dataclasses import dataclass

from pumpwatch.clock import Clock
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.order_books import SharedBooks
from pumpwatch.redis.tickers import LastPrices, SharedTickers


@dataclass(frozen=True, slots=True)
class SharedMarket:
    """The caches of tickers and order books, and the prices of collectors."""

    tickers: SharedTickers
    books: SharedBooks
    prices: LastPrices


def shared_market(redis: RedisConnection | None, ticker_s: float, book_s: float, clock: Clock) -> SharedMarket | None:
    """Return the shared market data, or None without Redis. ticker_s, book_s: how long tickers and books may be used."""
    if redis is None:
        return None
    return SharedMarket(SharedTickers(redis, ticker_s, clock), SharedBooks(redis, book_s, clock), LastPrices(redis))
