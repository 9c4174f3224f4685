"""A simulated venue's order book: levels around its newest trade, the same for every request at one time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pumpwatch.model import Flag
from pumpwatch.sim.rows import VOID, Rows, SymbolTable

DEPTH = 400  # levels of each side
STEPS = 10_000  # neighbouring levels differ by the price divided by this number
LEVEL_VALUE = 300.0  # quote units in the best level
NOT_OF_THE_MARKET = VOID | int(Flag.outside_market())


@dataclass(frozen=True, slots=True)
class MadeBook:
    """The levels of a symbol, best first: price and quantity in units of the symbol's last decimals.

    at_ns: the time of the newest trade, or of the request if there is none. number: grows with each trade.
    """

    table: SymbolTable
    symbol: int
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]
    at_ns: int
    number: int

    def texts(self, side: str, limit: int) -> list[list[str]]:
        """Return the best levels of `bids` or `asks` as the venue writes them: price, quantity."""
        levels: Sequence[tuple[int, int]] = getattr(self, side)
        return [[self.table.price_text(self.symbol, price), self.table.quantity_text(self.symbol, quantity)]
                for price, quantity in levels[:limit]]


def book_around(table: SymbolTable, symbol: int, rows: Rows, now_ns: int) -> MadeBook:
    """Return the book after these trades of a symbol, oldest first; the newest market trade is at the best ask."""
    rows = rows.take((rows.flags & NOT_OF_THE_MARKET) == 0)
    spec = table.specs[symbol]
    last = int(rows.price[-1]) if len(rows) else round(spec.price * 10**spec.price_decimals)
    number = int(rows.trade_id[-1]) if len(rows) else 0
    step = max(1, last // STEPS)
    away = np.arange(DEPTH, dtype=np.int64) * step
    least_value = last / 10**spec.price_decimals * spec.contract_size / 10**spec.quantity_decimals  # of the least quantity
    values = LEVEL_VALUE * (1 + (np.arange(DEPTH) + number) % 5)
    quantities = np.maximum(1, np.round(values / least_value)).astype(np.int64)
    bids, asks = last - step - away, last + away
    return MadeBook(table, symbol, [(price, quantity) for price, quantity in
                                    zip(bids.tolist(), quantities.tolist(), strict=True) if price > 0],
                    list(zip(asks.tolist(), quantities.tolist(), strict=True)),
                    int(rows.timestamp[-1]) if len(rows) else now_ns, number)
