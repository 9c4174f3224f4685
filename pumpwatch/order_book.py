"""A venue's order book: the best levels of both sides at one moment.

Prices are in the quote, quantities in base units, times int nanoseconds since 1970, UTC. A plugin imports these names from
`pumpwatch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pumpwatch.errors import BadFrame
from pumpwatch.model import Instrument

LEVELS = 50  # per side, at most
MOST = 2**63  # integers of a book are stored in 64 bits
MOST_PRICE = 1e30  # keeps sums of price times quantity finite

Level = tuple[float, float]  # price, quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBook:
    """The best levels of a symbol's order book at one moment: bids from the highest price down, asks from the lowest up.

    at_ns: the venue's own time of the book, 0 if unknown. sequence: the venue's number of this state, -1 if unknown. A side may
    be empty, and bids may cross asks, as in an opening auction. Raises BadFrame for a price or quantity that is not positive
    and finite, a repeated or unordered price, more than LEVELS levels, or an impossible time.
    """

    bids: Sequence[Level]
    asks: Sequence[Level]
    at_ns: int = 0
    sequence: int = -1

    def __post_init__(self) -> None:
        if not 0 <= self.at_ns < MOST or not -1 <= self.sequence < MOST:
            raise BadFrame(f"an order book with the time {self.at_ns} and the sequence number {self.sequence}")
        for name, side, ascends in (("bids", self.bids, False), ("asks", self.asks, True)):
            prices = [price for price, _ in side]
            if len(side) > LEVELS or not all(0 < number < MOST_PRICE for level in side for number in level):
                raise BadFrame(f"{name} with {len(side)} levels, or with a number that is not positive: {list(side)[:3]!r:.120}")
            if prices != sorted(set(prices), reverse=not ascends):
                raise BadFrame(f"{name} are not in order: {prices[:5]!r:.120}")

    def best(self, depth: int) -> OrderBook:
        """Return the best `depth` levels of each side, without checking them again."""
        if depth >= max(len(self.bids), len(self.asks)):
            return self
        short = object.__new__(OrderBook)
        for name, value in (("bids", self.bids[:depth]), ("asks", self.asks[:depth]), ("at_ns", self.at_ns),
                            ("sequence", self.sequence)):
            object.__setattr__(short, name, value)
        return short


def book_reader(data: Callable[[bytes], Any] = msgspec.json.decode, *, bids: str = "bids", asks: str = "asks",
                level: tuple[Any, Any] = (0, 1), time: tuple[str, int] | None = None, sequence: str = "",
                symbol: str = "") -> Callable[[bytes, Instrument], OrderBook]:
    """Return a function that parses an order book from JSON whose levels are arrays or objects.

    data(body): returns the object with the sides under the keys `bids` and `asks`; it raises for an error of the venue. level:
    the positions or keys of price and quantity in a level. time: the key of the book's time, and its unit in ns. sequence,
    symbol: their keys, or empty. Levels may come in any order; levels of quantity 0 are left out. The instrument gives the
    contract size and the scale of prices.
    """

    def parse(body: bytes, instrument: Instrument) -> OrderBook:
        found = data(body)
        if symbol and found[symbol] != instrument.symbol:
            raise BadFrame(f"the order book of another symbol: {found[symbol]!r:.80}")
        sides = [_side(found[name], level, instrument, descends=name == bids) for name in (bids, asks)]
        return OrderBook(bids=sides[0], asks=sides[1], at_ns=_time_ns(found[time[0]], time[1]) if time else 0,
                         sequence=_whole(found[sequence]) if sequence else -1)

    return parse


def _side(rows: Any, level: tuple[Any, Any], instrument: Instrument, *, descends: bool) -> list[Level]:
    """Return the best levels of a side in order."""
    kind = dict if isinstance(level[0], str) else list
    if not isinstance(rows, list) or not all(isinstance(row, kind) for row in rows):
        raise BadFrame(f"not levels of an order book: {rows!r:.80}")
    pairs = msgspec.convert([(row[level[0]], row[level[1]]) for row in rows], list[Level], strict=False)
    levels = [(price / instrument.price_divisor, quantity * instrument.contract_size) for price, quantity in pairs if quantity]
    return sorted(levels, reverse=descends)[:LEVELS]


def _whole(value: Any) -> int:
    """Return an integer that is given as a number or as text."""
    number: int = msgspec.convert(value, int, strict=False)
    return number


def _time_ns(value: Any, unit_ns: int) -> int:
    """Return a time in ns. A fractional time, in seconds, is rounded to the ms."""
    if isinstance(value, float):
        return round(value * 1000) * (unit_ns // 1000) if 0 <= value < MOST / unit_ns else -1
    return _whole(value) * unit_ns
