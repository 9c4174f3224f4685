"""A tape: the trades and order books of a coin's window, as columns. A replay has no other market data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import FUTURES, Flag, Float64, Int64, Listing, TradeBatch

# trades with which no order can be matched: takeovers, and trades agreed outside of the order book
UNMATCHED = int(Flag.outside_market() | Flag.BLOCK | Flag.RPI | Flag.INTERNAL)


@dataclass(frozen=True, slots=True)
class TapeMarket:
    """One instrument on one venue (such as `binance.spot`). maker, taker: fees as parts of the amount."""

    venue: str
    symbol: str
    market_type: str
    maker: Decimal
    taker: Decimal
    most_leverage: int = 1
    multiplier: int = 1  # 1000 for 1000PEPE

    @property
    def name(self) -> str:
        """Return the market's name for strategies, such as `binance.spot:KITEUSDT`."""
        return f"{self.venue}:{self.symbol}"

    @property
    def is_futures(self) -> bool:
        """Return whether positions have margin."""
        return self.market_type == FUTURES


@dataclass(frozen=True, slots=True)
class Book:
    """A recorded order book. at: its time, ns. bids, asks: (price, quantity), best level first."""

    at: int
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class MarketTrades:
    """The trades of one market with which orders can be matched, by the venue's time."""

    timestamp: Int64
    price: Float64
    quantity: Float64
    side: NDArray[np.uint8]

    def last_price(self, at_ns: int) -> float | None:
        """Return the price of the last trade up to a time; None before the first one."""
        row = int(np.searchsorted(self.timestamp, at_ns, "right")) - 1
        return None if row < 0 else float(self.price[row])


@dataclass(frozen=True, slots=True)
class Tape:
    """Trades sorted by the venue's time, ns. market: a place in `markets`. books: by a market's place, sorted by time.

    archive: the folder from which it was read, or empty. identity: a checksum of the content.
    """

    coin: str
    listing: Listing
    markets: tuple[TapeMarket, ...]
    timestamp: Int64
    received_at: Int64
    market: NDArray[np.int32]
    price: Float64
    quantity: Float64
    side: NDArray[np.uint8]
    matched: NDArray[np.bool_]
    end_ns: int
    books: dict[int, list[Book]] = field(default_factory=dict)
    archive: str = ""
    identity: str = ""

    def __len__(self) -> int:
        return len(self.timestamp)

    @property
    def triggered_at_ns(self) -> int:
        """Return the time from which delays count: when the window was opened; the detection if that is unknown."""
        listing = self.listing
        late = listing.triggered_at_ns >= self.end_ns or listing.triggered_at_ns < listing.detected_at_ns
        return listing.detected_at_ns if late else listing.triggered_at_ns

    def of(self, number: int) -> MarketTrades:
        """Return the trades of one market with which orders can be matched."""
        rows = np.flatnonzero((self.market == number) & self.matched)
        return MarketTrades(self.timestamp[rows], self.price[rows], self.quantity[rows], self.side[rows])


def make_tape(listing: Listing, markets: Sequence[TapeMarket], places: Iterable[int], batch: TradeBatch, end_ns: int, *,
              books: dict[int, list[Book]] | None = None, archive: str = "", identity: str = "") -> Tape:
    """Return the tape of a batch. places: the instrument in the batch of each of `markets`.

    Rows of other instruments, rows after end_ns, and rows whose price or quantity is not positive and finite are left out.
    identity: by default a checksum of all content.
    """
    ids = list(places)
    place = np.full(max([*ids, int(batch.instrument.max(initial=0))]) + 1, -1, np.int32)
    place[ids] = np.arange(len(ids), dtype=np.int32)
    market = place[batch.instrument]
    usable = ((market >= 0) & np.isfinite(batch.price) & (batch.price > 0) & np.isfinite(batch.quantity) & (batch.quantity > 0)
              & (batch.timestamp <= end_ns))
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((rows, market[rows], batch.timestamp[rows]))]
    taken = batch.take(rows)
    identity = identity or _identity(listing, markets, taken, market[rows], books or {})
    return Tape(listing.symbol, listing, tuple(markets), taken.timestamp, taken.received_at, market[rows], taken.price,
                taken.quantity, taken.side, (taken.flags & UNMATCHED) == 0, end_ns, books or {}, archive, identity)


def _identity(listing: Listing, markets: Sequence[TapeMarket], trades: TradeBatch, market: NDArray[np.int32],
              books: dict[int, list[Book]]) -> str:
    digest = hashlib.sha256(repr((listing, tuple(markets), books)).encode())
    for column in (trades.timestamp, trades.received_at, market, trades.price, trades.quantity, trades.side, trades.flags):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
