"""A venue's ticker: the last price of a symbol, and its figures of the last 24 hours.

Prices are in the quote, volumes in base units, times int nanoseconds since 1970, UTC. A plugin imports these names from
`pumpwatch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pumpwatch.errors import BadFrame
from pumpwatch.model import Instrument
from pumpwatch.order_book import MOST, MOST_PRICE

PRICES = ("open_24h", "high", "low", "bid", "ask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticker:
    """A symbol's last price and its figures of 24 hours, as the venue counts them. nan (trades: -1) means unknown.

    at_ns: the venue's own time of these figures, 0 if unknown. volume: in base units. quote_volume: in the quote. bid, ask: the
    best prices of the order book, which may cross in an auction. Raises BadFrame for impossible values: no price, a negative or
    infinite number, or a high below the low.
    """

    price: float
    at_ns: int = 0
    open_24h: float = math.nan
    high: float = math.nan
    low: float = math.nan
    volume: float = math.nan
    quote_volume: float = math.nan
    trades: int = -1
    bid: float = math.nan
    ask: float = math.nan

    def __post_init__(self) -> None:
        known = [value for name in PRICES if not math.isnan(value := getattr(self, name))]
        volumes = [value for value in (self.volume, self.quote_volume) if not math.isnan(value)]
        good = (all(0 < price < MOST_PRICE for price in (self.price, *known)) and not self.high < self.low
                and all(0 <= volume < math.inf for volume in volumes) and -1 <= self.trades < MOST and 0 <= self.at_ns < MOST)
        if not good:
            raise BadFrame(f"not a ticker: {self!r:.300}")

    @property
    def change(self) -> float:
        """Return the price's change in 24 hours as a ratio: 0.1 for +10 %. nan if unknown."""
        return self.price / self.open_24h - 1


def ticker_reader(data: Callable[[bytes], Any] = msgspec.json.decode, *, names: Mapping[str, str],
                  time: tuple[str, int] | None = None, symbol: str = "") -> Callable[[bytes, Instrument], Ticker]:
    """Return a function that parses a ticker from a JSON object.

    data(body): returns the object; it raises for an error of the venue. names: the key of each Ticker field that the venue
    gives. Three more names are allowed: `change`, the price's change in the quote, and `percent`, the same in percent, which
    both yield open_24h; `base_volume`, a volume in base units if the venue's `volume` counts contracts. time: the key of the
    time, and its unit in ns. symbol: the key of the symbol, or empty. An absent, empty or null figure is unknown, and so is a
    price of 0. The instrument gives the contract size and the scale of prices.
    """

    def parse(body: bytes, instrument: Instrument) -> Ticker:
        found = data(body)
        if symbol and found[symbol] != instrument.symbol:
            raise BadFrame(f"the ticker of another symbol: {found[symbol]!r:.80}")
        raw = {name: _number(found.get(key)) for name, key in names.items()}
        price = raw.get("price", math.nan) / instrument.price_divisor
        prices = {name: raw[name] / instrument.price_divisor or math.nan for name in PRICES if name in raw}
        if "change" in raw:
            prices["open_24h"] = price - raw["change"] / instrument.price_divisor
        elif "percent" in raw:
            prices["open_24h"] = price / (1 + raw["percent"] / 100) if raw["percent"] != -100 else math.nan
        volume = raw.get("base_volume", raw.get("volume", math.nan) * instrument.contract_size)
        quote_volume = raw.get("quote_volume", math.nan) / instrument.price_divisor
        trades = raw.get("trades", -1.0)
        return Ticker(price=price, **prices, volume=volume, quote_volume=quote_volume,
                      trades=int(trades) if abs(trades) < MOST else -1,
                      at_ns=msgspec.convert(found[time[0]], int, strict=False) * time[1] if time else 0)

    return parse


def _number(value: Any) -> float:
    """Return a number that is given as a number or as text; nan for null or an empty text."""
    return math.nan if value is None or value == "" else msgspec.convert(value, float, strict=False)
