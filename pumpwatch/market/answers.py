"""The answers of the market data: plain values, each with its source and age.

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
    """The answer about one symbol. source: memory, journal, cache, redis, disk, store, or venue; age_s: how old it is.

    Without a value `problem` says the reason, for a person. day_source: of a ticker alone, the source of its 24 hours: `candles`
    or `venue`, empty where these are not known; day_age_s: how old they are.
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
    """Candles of several series by series and time: `rows.series` are places in `series`. problems: what could not be read.

    not_covered: the times [from_ns, to_ns) of a series without a candle in which trades may be missing: not recorded, lost, or
    not kept any more, and not asked from the venue.
    """

    interval: str
    series: list[Series]
    rows: CandleColumns
    problems: list[str] = field(default_factory=list)
    not_covered: list[tuple[Series, int, int]] = field(default_factory=list)

    def __repr__(self) -> str:
        """Return its size: the columns would fill a screen."""
        return (f"<{len(self.rows)} candles of {self.interval}, {len(self.series)} symbols, {len(self.problems)} problems, "
                f"{len(self.not_covered)} times not covered>")

    def records(self) -> list[dict[str, Any]]:
        """Return a row for each candle, with stable keys; figures that are not known are None."""
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
        """Return a frame with the keys of `records`, times as UTC timestamps. Raises ImportError without pandas."""
        import pandas as pd

        names = pd.DataFrame(self.series, columns=["exchange", "market_type", "symbol"]).take(self.rows.series)
        frame = names.reset_index(drop=True).assign(
            interval=self.interval, **{name: getattr(self.rows, name) for name in FIGURES},
            origin=[CandleOrigin(number).name.lower() for number in self.rows.origin.tolist()])
        return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], utc=True))


@dataclass(frozen=True, slots=True, repr=False)
class SymbolTrades:
    """The last trades of one symbol by time, as columns of equal length."""

    timestamp: Int64  # ns, the venue's
    price: Float64
    quantity: Float64  # base units
    buy: NDArray[np.bool_]  # the taker bought
    trade_id: list[str]

    def __len__(self) -> int:
        return len(self.timestamp)

    def __repr__(self) -> str:
        """Return the number of trades: the columns would fill a screen."""
        return f"<{len(self)} trades>"

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with these columns, times as UTC timestamps. Raises ImportError without pandas."""
        import pandas as pd

        return pd.DataFrame({"timestamp": pd.to_datetime(self.timestamp, utc=True), "price": self.price,
                             "quantity": self.quantity, "buy": self.buy, "trade_id": self.trade_id})


@dataclass(frozen=True, slots=True)
class SymbolStats:
    """The figures of one symbol in [from_ns, to_ns): exactly this time, not a calendar day. nan and -1: not known.

    first_ns: the time of the first figure; a later one than from_ns where nothing older is known or was traded. exact: the two
    minutes at the ends are counted by their trades alone; else the first one counts as a whole. complete: nothing says that
    trades may be missing; the last two minutes cannot be judged yet, and do not count against it.
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
        """Return the price's change as a share: 0.1 for 10 % more."""
        return self.close / self.open - 1
