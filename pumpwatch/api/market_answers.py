"""The structs of market data answers, for the OpenAPI description. Unknown figures are null."""

from __future__ import annotations

from typing import Literal

import msgspec

Price = float | None
Count = int | None


class CandleRow(msgspec.Struct):
    """One candle. timestamp: its start, ns UTC. Volumes are in base units, quote_volume in quote units."""

    exchange: str
    market_type: str
    symbol: str
    interval: str
    timestamp: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Price
    quote_volume: Price
    taker_buy_volume: Price
    trades: Count
    complete: bool
    origin: Literal["trades", "venue"]


class NotCovered(msgspec.Struct):
    """A time of a symbol without a candle in which trades may be missing, [from_ns, to_ns)."""

    exchange: str
    market_type: str
    symbol: str
    from_ns: int
    to_ns: int


class CandlesAnswer(msgspec.Struct):
    """Candles by symbol and time. problems: data that could not be read."""

    candles: list[CandleRow]
    problems: list[str]
    not_covered: list[NotCovered]


class FoundRow(msgspec.Struct):
    """The answer for one symbol. source: memory, journal, cache, redis, disk, store or venue. age_s: its age.

    problem: the reason for a missing value.
    """

    exchange: str
    market_type: str
    symbol: str
    source: str
    age_s: float
    problem: str


class TickerFigures(msgspec.Struct):
    """A price and its last 24 hours. change: a share, 0.1 for +10 %. at_ns: the venue's time, 0 if it sends none."""

    price: float
    at_ns: int
    open_24h: Price
    high: Price
    low: Price
    volume: Price
    quote_volume: Price
    trades: Count
    bid: Price
    ask: Price
    change: Price


class TickerRow(FoundRow):
    """A ticker. day_source: the source of its 24 hours, `candles` or `venue`; absent if they are unknown."""

    value: TickerFigures | None
    day_source: str = ""
    day_age_s: float = 0.0


class BookFigures(msgspec.Struct):
    """An order book: (price, quantity in base units), best first. at_ns: the venue's time, 0 if it sends none."""

    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    at_ns: int
    sequence: Count


class OrderBookRow(FoundRow):
    """An order book."""

    value: BookFigures | None


class StatsFigures(msgspec.Struct):
    """The figures of [from_ns, to_ns). exact: the first partial minute was counted by its trades. change: a share."""

    from_ns: int
    to_ns: int
    first_ns: int
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Price
    quote_volume: Price
    taker_buy_volume: Price
    trades: Count
    exact: bool
    complete: bool
    change: Price


class StatsRow(FoundRow):
    """The last 24 hours."""

    value: StatsFigures | None
