"""A simulated venue's ticker: the last price of a symbol and its 24 hours, counted from its trades."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pumpwatch.sim.book import NOT_OF_THE_MARKET, book_around
from pumpwatch.sim.rows import Rows, SymbolTable

DAY_NS = 86_400 * 10**9
PRICES = ("last", "open", "high", "low", "bid", "ask")


@dataclass(frozen=True, slots=True)
class MadeTicker:
    """A symbol's last price and 24 hours. Prices and the quantity are exact decimals: integers by the symbol's scales.

    quote: price times quantity, in quote units of the venue's own quantity unit. at_ns: the time of the last trade, or of the
    request if there is none.
    """

    table: SymbolTable
    symbol: int
    last: int
    open: int
    high: int
    low: int
    bid: int
    ask: int
    quantity: int
    quote: float
    trades: int
    at_ns: int

    def text(self, name: str) -> str:
        """Return a price as the venue writes it, by its field."""
        return str(self.table.price_text(self.symbol, getattr(self, name)))

    @property
    def volume(self) -> str:
        """Return the quantity as the venue writes it."""
        return str(self.table.quantity_text(self.symbol, self.quantity))

    @property
    def turnover(self) -> float:
        """Return the quote volume in quote units, the contract size applied."""
        return self.quote * self.table.specs[self.symbol].contract_size


def ticker_of(table: SymbolTable, symbol: int, rows: Rows, now_ns: int) -> MadeTicker:
    """Return the ticker after a symbol's trades of 24 hours; rows outside the market do not count."""
    rows = rows.take((rows.flags & NOT_OF_THE_MARKET) == 0)
    rows = rows.take(np.argsort(rows.timestamp, kind="stable"))
    book = book_around(table, symbol, rows, now_ns)
    bid, ask = book.bids[0][0] if book.bids else 0, book.asks[0][0]
    price = rows.price if len(rows) else np.array([ask])
    return MadeTicker(table, symbol, last=int(price[-1]), open=int(price[0]), high=int(price.max()), low=int(price.min()),
                      bid=bid, ask=ask, quantity=int(rows.quantity.sum()), quote=float((rows.prices() * rows.quantities()).sum()),
                      trades=len(rows), at_ns=book.at_ns)
