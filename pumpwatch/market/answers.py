"""The answers of the market data: plain values with their source and age.

Prices are in the quote, volumes in base units, times int nanoseconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin, Series
from pumpwatch.model import Float64, Int64

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

T = TypeVar("T")
FIGURES = ("timestamp", "open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "trades", "complete")


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """The answer about one symbol. source: memory, journal, cache, redis, disk, store, or venue. age_s: its age.

    problem: the reason, for a person, if there is no value. day_source, day_age_s: of tickers only, the source of the 24-hour
    figures (`candles` or `venue`; empty if they are unknown) and their age.
    """

    exchange: str
    market_type: str
    symbol: str
    value: T | None = None
    source: str = ""
    age_s: float = 0.0
    problem: str = ""
    day_source: str = ""
    day_age_s: float = 0.0


@dataclass(frozen=True, slots=True, repr=False)
class CandleAnswer:
    """Candles of several series, sorted by series and time. `rows.series` are places in `series`. problems: read failures.

    not_covered: times [from_ns, to_ns) of a series without a candle in which trades may be missing: they were not recorded, were
    lost or have expired, and the venue was not asked.
    """

    interval: str
    series: list[Series]
    rows: CandleColumns
    problems: list[str] = field(default_factory=list)
    not_covered: list[tuple[Series, int, int]] = field(default_factory=list)

    def __repr__(self) -> str:
        """Return a summary, since the columns would fill a screen."""
        return (f"<{len(self.rows)} candles of {self.interval}, {len(self.series)} symbols, {len(self.problems)} problems, "
                f"{len(self.not_covered)} times not covered>")

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each candle, with stable keys; unknown figures are None."""
        columns = [getattr(self.rows, name).tolist() for name in FIGURES]
        found = []
        for number, origin, *values in zip(self.rows.series.tolist(), self.rows.origin.tolist(), *columns, strict=True):
            exchange, market_type, symbol = self.series[number]
            figures = {name: None if value != value or (name, value) == ("trades", -1) else value
                       for name, value in zip(FIGURES, values, strict=True)}
            found.append({"exchange": exchange, "market_type": market_type, "symbol": symbol, "interval": self.interval,
                          **figures, "origin": CandleOrigin(origin).name.lower()})
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with the keys of `records`, times as UTC timestamps. Raises ImportError without pandas."""
        import pandas as pd

        names = pd.DataFrame(self.series, columns=["exchange", "market_type", "symbol"]).take(self.rows.series)
        frame = names.reset_index(drop=True).assign(
            interval=self.interval, **{name: getattr(self.rows, name) for name in FIGURES},
            origin=[CandleOrigin(number).name.lower() for number in self.rows.origin.tolist()])
        return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], utc=True))


@dataclass(frozen=True, slots=True, repr=False)
class SymbolTrades:
    """The last trades of one symbol, sorted by time, as columns of equal length."""

    timestamp: Int64  # ns, the venue's
    price: Float64
    quantity: Float64  # base units
    buy: NDArray[np.bool_]  # the taker bought
    trade_id: list[str]

    def __len__(self) -> int:
        return len(self.timestamp)

    def __repr__(self) -> str:
        """Return the number of trades, since the columns would fill a screen."""
        return f"<{len(self)} trades>"

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with these columns, times as UTC timestamps. Raises ImportError without pandas."""
        import pandas as pd

        return pd.DataFrame({"timestamp": pd.to_datetime(self.timestamp, utc=True), "price": self.price,
                             "quantity": self.quantity, "buy": self.buy, "trade_id": self.trade_id})


@dataclass(frozen=True, slots=True)
class SymbolStats:
    """The figures of one symbol in exactly [from_ns, to_ns), not a calendar day. nan and -1: unknown.

    first_ns: the time of the first data; later than from_ns if there is no older data. exact: the two partial minutes at the ends
    are computed from trades; else the first minute is included as a whole. complete: no known gap, judged without the last two
    minutes, whose gaps may not be known yet.
    """

    from_ns: int
    to_ns: int
    first_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    taker_buy_volume: float
    trades: int
    exact: bool
    complete: bool

    @property
    def change(self) -> float:
        """Return the relative change of the price: 0.1 for 10 % more."""
        return self.close / self.open - 1
