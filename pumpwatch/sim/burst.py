"""Frames made beforehand: each connection has a lap of frames that is sent over and over.

What moves on is written into the frames where they lie (ids go up by one a symbol, times are those of sending), so a
lap neither ends nor repeats an id. A connection that does not read is waited for, and is the only one that waits; how
far it is behind is `behind` in the status. Where two connections subscribe to a symbol, the newer one gets it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.sim.dialect import Stamp
from pumpwatch.sim.link import Link
from pumpwatch.sim.rows import Ints, Rows
from pumpwatch.sim.truth import SENT, records_of
from pumpwatch.sim.venue import SimVenue

CATCH_UP = 4  # a connection that is behind gets at most so many ticks' trades at once,
MOST_AT_ONCE = 2_000  # and never more than this, so that everyone gets a turn
ZERO = 48


class Lap:
    """The frames of one connection, in one buffer, and where their numbers lie."""

    def __init__(self, venue: SimVenue, link: Link, rows: Rows, owned: list[int], share: float) -> None:
        self.link, self.share, self.rows, self.venue = link, share, rows, venue
        self.owned = owned
        frames = venue.frames(venue.dialect.encode(link.session.form, rows))
        self._buffer = np.frombuffer(bytearray(b"".join(frames)), np.uint8)
        ends = np.cumsum([len(frame) for frame in frames])
        view = self._buffer.data
        starts = np.concatenate([[0], ends[:-1]])
        self._views = [view[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        self._stamps = [(stamp, _places(stamp, frames, starts)) for stamp in venue.dialect.stamps]
        self._records = records_of(venue.number, rows, link.number, SENT, 0)
        order = np.argsort(rows.symbol, kind="stable")
        grouped = rows.symbol[order]
        first = np.flatnonzero(np.diff(grouped, prepend=-1))
        sizes = np.diff(first, append=len(rows))
        self._rank = np.empty(len(rows), np.int64)
        self._rank[order] = np.arange(len(rows)) - np.repeat(first, sizes)
        self._sizes = np.zeros(len(venue.table), np.int64)
        self._sizes[grouped[first]] = sizes
        self._ids: Ints = np.empty(0, np.int64)
        self._at = len(rows)
        self.due = 0.0

    def send(self, count: int, now_ns: int) -> None:
        """Send the next `count` frames, or as many as the connection takes without waiting."""
        unit = self.venue.dialect.timestamp_unit_ns
        now_ns -= now_ns % unit
        while count > 0 and not self.link.stream.queued and not self.link.stream.closed:
            if self._at == len(self.rows):
                self._ids = self.venue.market.next_id[self.rows.symbol] + self._rank
                self.venue.market.next_id += self._sizes
                self._at = 0
            begin, end = self._at, min(self._at + count, len(self.rows))
            for stamp, places in self._stamps:
                number = self._ids[begin:end] if stamp.what == "id" else now_ns // stamp.unit_ns
                _write(self._buffer, places[begin:end], number)
            records = self._records[begin:end].copy()
            records["trade_id"], records["timestamp"], records["sent_at"] = self._ids[begin:end], now_ns, now_ns
            self._at = end
            count -= end - begin
            self.due -= end - begin
            self.venue.made += end - begin
            self.venue.history.add(self._happened(begin, end, now_ns))
            if self.link.push(self._views[begin:end], records):
                self.venue.truth.add(records)

    def end(self) -> None:
        """Give back the ids that were not used: nothing happened under them."""
        if len(self._ids):
            np.minimum.at(self.venue.market.next_id, self.rows.symbol[self._at:], self._ids[self._at:])

    def _happened(self, begin: int, end: int, now_ns: int) -> Rows:
        rows = self.rows.take(slice(begin, end))
        return Rows(rows.table, rows.symbol, self._ids[begin:end], np.full(len(rows), now_ns), rows.price,
                    rows.quantity, rows.sell, rows.flags)


class BurstSource:
    """A venue's laps, paced."""

    def __init__(self, venue: SimVenue, rate: float, lap_trades: int) -> None:
        self.rate = rate
        self._venue = venue
        self._drawn: Rows | None = None
        self._lap_trades = lap_trades
        self._laps: dict[int, Lap] = {}
        self._routes: Any = None

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Send what is due on each connection."""
        self.prepare()
        for lap in self._laps.values():
            due = self.rate * lap.share * seconds
            lap.due += due
            lap.send(min(int(lap.due), int(CATCH_UP * due) + 1, MOST_AT_ONCE), to_ns)

    def behind(self) -> int:
        """Return how many trades are late because their connection does not read fast enough."""
        return int(sum(lap.due for lap in self._laps.values()))

    def finished(self) -> bool:
        """Return False: a lap follows the other."""
        return False

    def prepare(self) -> None:
        """Make laps for connections whose subscriptions are new."""
        if self._venue.routes() is self._routes:
            return
        self._routes = self._venue.routes()
        if self._drawn is None:
            market = self._venue.market
            ids = market.next_id.copy()
            self._drawn = market.take(self._lap_trades, self._venue.clock.now_ns(), self._venue.clock.now_ns())
            market.next_id[:] = ids
        owner: dict[int, Link] = {}
        for link in sorted(self._routes.links, key=lambda one: one.number):
            owner.update(dict.fromkeys(link.symbols, link))
        wanted: dict[int, list[int]] = {}
        for symbol, link in owner.items():
            wanted.setdefault(link.number, []).append(symbol)
        total = self._venue.market.weights[list(owner)].sum() if owner else 1.0
        laps = {}
        for link in self._routes.links:
            symbols = sorted(wanted.get(link.number, []))
            if not symbols:
                continue
            share = float(self._venue.market.weights[symbols].sum() / total)
            lap = self._laps.get(link.number)
            if lap is not None and lap.owned == symbols:
                lap.share = share
            else:
                if lap is not None:
                    lap.end()
                rows = self._drawn.take(np.isin(self._drawn.symbol, symbols))
                if not len(rows):
                    continue
                lap = Lap(self._venue, link, rows, symbols, share)
            laps[link.number] = lap
        for number, lap in self._laps.items():
            if number not in laps:
                lap.end()
        self._laps = laps


def _places(stamp: Stamp, frames: list[bytes], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each frame's digits of the stamp lie in the buffer: a row a frame."""
    marker, length = stamp.marker, len(stamp.marker)
    first = np.array([frame.index(marker) + length for frame in frames], np.int64) + starts
    return first[:, None] + np.arange(stamp.digits)


def _write(buffer: NDArray[np.uint8], places: NDArray[np.int64], number: Ints | int) -> None:
    """Write a number a row (or one for all) as decimal digits into their places."""
    if isinstance(number, int):
        buffer[places] = np.frombuffer(str(number).encode(), np.uint8)
    else:
        powers = 10 ** np.arange(places.shape[1] - 1, -1, -1)
        buffer[places] = number[:, None] // powers % 10 + ZERO
