"""The recent trades of a simulated venue, for its REST side: bounded, by symbol, by id and by time."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Flag
from pumpwatch.sim.book import MadeBook, book_around
from pumpwatch.sim.dialect import MinuteBar
from pumpwatch.sim.rows import VOID, Rows, SymbolTable
from pumpwatch.sim.ticker import DAY_NS, MadeTicker, ticker_of

CHUNK = 4096
DISORDER_NS = 60 * 10**9  # rows of a chunk are at most this far outside the time of its first and last row
NOT_OF_THE_MARKET = VOID | int(Flag.outside_market())
MINUTE_NS = 60 * 10**9
BOOK_ROWS = 20  # at least one of the last rows is then a market trade


class TradeHistory:
    """The last trades of a venue, sent or not. limit: about how many are kept; 0 keeps none."""

    def __init__(self, table: SymbolTable, limit: int) -> None:
        self.table = table
        self.limit = limit
        self._chunks: deque[Rows] = deque()
        self._fresh: list[Rows] = []
        self._fresh_count = 0
        self._count = 0

    def add(self, rows: Rows) -> None:
        """Add rows; the oldest are dropped beyond the limit."""
        if not len(rows) or not self.limit:
            return
        self._fresh.append(rows)
        self._fresh_count += len(rows)
        if self._fresh_count >= CHUNK:
            self._close_chunk()

    def recent(self, symbol: int, limit: int) -> Rows:
        """Return the newest rows of a symbol, oldest first."""
        return self._backward(symbol, limit, lambda chunk: np.ones(len(chunk), np.bool_))

    def from_id(self, symbol: int, first_id: int, limit: int) -> Rows:
        """Return rows with ids from first_id on, ascending."""
        return self._forward(symbol, limit, lambda chunk: chunk.trade_id >= first_id)

    def between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows with start_ns <= timestamp <= end_ns, ascending."""
        return self._forward(symbol, limit, lambda chunk: _in_time(chunk, start_ns, end_ns))

    def last_between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the last rows with start_ns <= timestamp <= end_ns, ascending."""
        return self._backward(symbol, limit, lambda chunk: _in_time(chunk, start_ns, end_ns))

    def last_ids(self, symbol: int, first_id: int, last_id: int, limit: int) -> Rows:
        """Return the last rows with first_id <= id <= last_id, ascending."""
        return self._backward(symbol, limit, lambda chunk: (chunk.trade_id >= first_id) & (chunk.trade_id <= last_id))

    def minutes(self, symbol: int, start_ns: int, end_ns: int) -> list[MinuteBar]:
        """Return the minutes with trades that begin in [start_ns, end_ns), ascending; rows outside the market do not count."""
        start_ns, end_ns = whole_minutes(start_ns, end_ns)
        return minute_bars(self.between(symbol, start_ns, end_ns - 1, 2**31))

    def book(self, symbol: int, now_ns: int) -> MadeBook:
        """Return the order book of a symbol at this time."""
        return book_around(self.table, symbol, self.last_between(symbol, 0, now_ns, BOOK_ROWS), now_ns)

    def ticker(self, symbol: int, now_ns: int) -> MadeTicker:
        """Return the ticker of a symbol for the 24 hours before this time."""
        return ticker_of(self.table, symbol, self.between(symbol, now_ns - DAY_NS, now_ns, 2**31), now_ns)

    def _backward(self, symbol: int, limit: int, wanted: Callable[[Rows], NDArray[np.bool_]]) -> Rows:
        found, missing = [], limit
        self._close_chunk()
        for chunk in reversed(self._chunks):
            rows = np.flatnonzero(wanted(chunk) & (chunk.symbol == symbol))[-missing:]
            if len(rows):
                found.append(chunk.take(rows))
                missing -= len(rows)
            if missing <= 0:
                break
        return Rows.concat(found[::-1]) if found else Rows.empty(self.table)

    def _forward(self, symbol: int, limit: int, wanted: Callable[[Rows], NDArray[np.bool_]]) -> Rows:
        found, missing = [], limit
        self._close_chunk()
        for chunk in self._chunks:
            rows = np.flatnonzero(wanted(chunk) & (chunk.symbol == symbol))[:missing]
            if len(rows):
                found.append(chunk.take(rows))
                missing -= len(rows)
            if missing <= 0:
                break
        return Rows.concat(found) if found else Rows.empty(self.table)

    def _close_chunk(self) -> None:
        if self._fresh:
            if self._chunks and len(self._chunks[-1]) < CHUNK:  # a request came early: many small chunks would be slow
                self._fresh.insert(0, self._chunks.pop())
                self._count -= len(self._fresh[0])
            chunk = Rows.concat(self._fresh)
            self._chunks.append(chunk)
            self._count += len(chunk)
            self._fresh, self._fresh_count = [], 0
        while self._count - len(self._chunks[0] if self._chunks else ()) > self.limit:
            self._count -= len(self._chunks.popleft())


def _in_time(chunk: Rows, start_ns: int, end_ns: int) -> NDArray[np.bool_]:
    """Return which rows are in [start_ns, end_ns]; chunks that are clearly outside cost almost nothing."""
    ends = sorted((int(chunk.timestamp[0]), int(chunk.timestamp[-1])))
    if ends[1] + DISORDER_NS < start_ns or ends[0] - DISORDER_NS > end_ns:
        return np.zeros(len(chunk), np.bool_)
    return (chunk.timestamp >= start_ns) & (chunk.timestamp <= end_ns)


def whole_minutes(start_ns: int, end_ns: int) -> tuple[int, int]:
    """Return the beginning of the first minute that begins in [start_ns, end_ns), and the end of the last one."""
    return -(-start_ns // MINUTE_NS) * MINUTE_NS, -(-end_ns // MINUTE_NS) * MINUTE_NS


def minute_bars(rows: Rows) -> list[MinuteBar]:
    """Return the minutes of one symbol's trades, ascending; rows outside the market do not count."""
    rows = rows.take((rows.flags & NOT_OF_THE_MARKET) == 0)
    rows = rows.take(np.argsort(rows.timestamp, kind="stable"))
    minute = rows.timestamp // MINUTE_NS
    heads = np.flatnonzero(np.diff(minute, prepend=-1)).tolist()
    quotes = rows.prices() * rows.quantities()
    bars = []
    for first, last in itertools.pairwise([*heads, len(rows)]):
        price = rows.price[first:last]
        bars.append(MinuteBar(start_ns=int(minute[first]) * MINUTE_NS, open=int(price[0]), high=int(price.max()),
                              low=int(price.min()), close=int(price[-1]), quantity=int(rows.quantity[first:last].sum()),
                              quote=float(quotes[first:last].sum()), trades=last - first))
    return bars


def aggregate(rows: Rows) -> list[tuple[int, int, int]]:
    """Return (first row, last row, quantity) of each run of neighbours with the same symbol, price, side and time."""
    if not len(rows):
        return []
    columns = (rows.symbol, rows.price, rows.sell, rows.timestamp)
    first = np.flatnonzero(np.any([np.diff(column.astype(np.int64), prepend=-1) != 0 for column in columns], axis=0))
    last = np.append(first[1:], len(rows)) - 1
    sums = np.add.reduceat(rows.quantity, first)
    return list(zip(first.tolist(), last.tolist(), sums.tolist(), strict=True))
