"""The shapes of answers about market data, for the OpenAPI description. Figures that are not known are null."""

from __future__ import annotations

from typing import Literal

import msgspec

Price = float | None
Count = int | None


class CandleRow(msgspec.Struct):
    """One candle. timestamp: of its start, ns. Volumes are in base units, quote_volume in the quote."""

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
    """Candles by symbol and time. problems: what could not be read."""

    candles: list[CandleRow]
    problems: list[str]
    not_covered: list[NotCovered]


class FoundRow(msgspec.Struct):
    """The answer about one symbol. source: memory, journal, cache, redis, disk, store or venue; age_s: how old it is.

    Without a value `problem` says the reason.
    """

    exchange: str
    market_type: str
    symbol: str
    source: str
    age_s: float
    problem: str


class TickerFigures(msgspec.Struct):
    """A price and its last 24 hours. change: a share, 0.1 for 10 % more. at_ns: the venue's own time, 0 where it gives none."""

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
    """A ticker. day_source: of its 24 hours, `candles` or `venue`; absent where these are not known."""

    value: TickerFigures | None
    day_source: str = ""
    day_age_s: float = 0.0


class BookFigures(msgspec.Struct):
    """An order book: (price, quantity) in base units, the best first. at_ns: the venue's own time, 0 where it gives none."""

    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    at_ns: int
    sequence: Count


class BookRow(FoundRow):
    """An order book."""

    value: BookFigures | None


class StatsFigures(msgspec.Struct):
    """The figures of [from_ns, to_ns). exact: the first minute is counted by its trades alone. change: a share."""

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
