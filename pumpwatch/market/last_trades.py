"""The newest trade of each instrument: its price and time, taken from batches by columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Flag, TradeBatch

MOST_ROWS = 20_000  # trades that wait to be looked at: a millisecond of work
AHEAD_NS = 60 * NS_PER_S  # a time further ahead of its arrival is a clock's error, and never the newest


class Last(NamedTuple):
    """The newest trade: its own time (ns, UTC), its price in the quote, and where it is: `memory`, `redis` or `journal`."""

    at_ns: int
    price: float
    source: str = "memory"


class LastTrades:
    """Notes batches, and answers from them. All of it belongs to one thread.

    A batch is only kept until so many rows wait, or somebody asks: that costs 0.03 µs a trade in batches of 2,000. Trades outside
    the market do not count. Of those with the same time the last one counts.
    """

    def __init__(self, batches: Iterable[TradeBatch] = ()) -> None:
        self._at_ns, self._price = np.zeros(0, np.int64), np.zeros(0, np.float64)  # by the instrument's id; 0: none yet
        self._told_ns = np.zeros(0, np.int64)  # the times that `changed` returned last
        self._waiting: list[TradeBatch] = []
        self._rows = 0
        for batch in batches:
            self.note(batch)

    def note(self, batch: TradeBatch) -> None:
        """Take a batch, of any time."""
        self._waiting.append(batch)
        self._rows += len(batch)
        if self._rows >= MOST_ROWS:
            self._take_up()

    def of(self, ids: Sequence[int]) -> dict[int, Last]:
        """Return the newest trade of each instrument that has one."""
        self._take_up()
        return {number: Last(int(self._at_ns[number]), float(self._price[number])) for number in ids
                if number < len(self._at_ns) and self._at_ns[number]}

    def changed(self) -> dict[int, Last]:
        """Return the newest trade of each instrument that has had a newer one since this was last asked."""
        self._take_up()
        told_ns = np.zeros(len(self._at_ns), np.int64)
        told_ns[:len(self._told_ns)] = self._told_ns
        self._told_ns = self._at_ns.copy()
        return self.of(np.flatnonzero(self._at_ns > told_ns).tolist())

    def _take_up(self) -> None:
        waiting, self._waiting, self._rows = [batch for batch in self._waiting if len(batch)], [], 0
        if not waiting:
            return
        instrument, timestamp, received_at, flags, price = (
            np.concatenate([getattr(batch, name) for batch in waiting])
            for name in ("instrument", "timestamp", "received_at", "flags", "price"))
        most = int(instrument.max()) + 1
        if most > len(self._at_ns):
            more = np.zeros(most + most // 4 - len(self._at_ns), np.int64)
            self._at_ns, self._price = np.append(self._at_ns, more), np.append(self._price, more)
        counts = ((flags & Flag.outside_market()) == 0) & (timestamp <= received_at + AHEAD_NS)
        rows = np.flatnonzero(counts & (timestamp >= self._at_ns[instrument]))
        at_ns = timestamp[rows]
        if (at_ns[1:] < at_ns[:-1]).any():
            order = at_ns.argsort(kind="stable")
            rows, at_ns = rows[order], at_ns[order]
        numbers = instrument[rows]
        self._at_ns[numbers] = at_ns  # of several, the last one stays
        self._price[numbers] = price[rows]
