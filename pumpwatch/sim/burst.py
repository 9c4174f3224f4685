"""Frames made in advance: each connection has a lap of frames that is sent over and over.

Changing numbers are written into the frames in memory: ids go up by one per symbol, times are the times of sending. So a lap
never ends and never repeats an id. A connection that does not read is waited for and delays no other; `behind` in the status
counts its late trades. If two connections subscribe to a symbol, the newer one gets it. Coins do not jump here: a listing changes
no price.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.dialect import Stamp
from pumpwatch.sim.ground_truth import SENT, Records, records_of
from pumpwatch.sim.rows import Ints, Rows
from pumpwatch.sim.venue import Routes, SimVenue

CATCH_UP = 4  # a connection that is behind gets at most the trades of this many ticks at once,
MOST_AT_ONCE = 2_000  # and never more than this, so that the others are not delayed
ZERO = ord("0")
PHASE = 0.618  # of a trade: each new connection begins this much further ahead than the one before


class Lap:
    """The frames of one connection and the places of their changing numbers."""

    def __init__(self, venue: SimVenue, connection: ClientConnection, rows: Rows, symbols: list[int]) -> None:
        self.connection, self.rows, self.symbols = connection, rows, symbols
        form = connection.session.form
        self.frames = venue.frames(venue.dialect.encode(form, rows), form)
        lengths = np.array([len(frame) for frame in self.frames], np.int64)
        self.ends = np.cumsum(lengths)
        self.places = [_places(stamp, self.frames, self.ends - lengths) for stamp in venue.dialect.stamps]
        self.records = records_of(venue.number, rows, connection.number, SENT, 0)
        order = np.argsort(rows.symbol, kind="stable")
        grouped = rows.symbol[order]
        first = np.flatnonzero(np.diff(grouped, prepend=-1))
        counts = np.diff(first, append=len(rows))
        self._rank = np.empty(len(rows), np.int64)  # of a row among those of its symbol
        self._rank[order] = np.arange(len(rows)) - np.repeat(first, counts)
        self._counts = np.zeros(len(venue.table), np.int64)
        self._counts[grouped[first]] = counts
        self.ids: Ints = np.zeros(len(rows), np.int64)  # a view of the ids of JoinedLaps, once it has joined this lap
        self.next_row = len(rows)
        self.due = connection.number * PHASE % 1  # the phases differ, or at a low rate all would wait for a trade

    def start_again(self, next_id: Ints) -> None:
        """Go back to the first row, with the next ids of each symbol; next_id moves on."""
        self.ids[:] = next_id[self.rows.symbol] + self._rank
        next_id += self._counts
        self.next_row = 0

    def return_ids(self, next_id: Ints) -> None:
        """Give back the ids that were not sent."""
        unsent = slice(self.next_row, None)
        np.minimum.at(next_id, self.rows.symbol[unsent], self.ids[unsent])


class JoinedLaps:
    """The laps of all connections of a venue in one buffer, so that one step writes the numbers of many frames."""

    def __init__(self, venue: SimVenue, laps: list[Lap], shares: list[float]) -> None:
        self.laps = laps
        self.shares = np.array(shares)
        self.due = np.array([lap.due for lap in laps])
        self._venue = venue
        sizes = [len(lap.rows) for lap in laps]
        self._starts: list[int] = (np.cumsum(sizes) - sizes).tolist()
        offsets = np.cumsum([0] + [int(lap.ends[-1]) for lap in laps])[:-1]
        self._buffer = np.frombuffer(bytearray(b"".join(frame for lap in laps for frame in lap.frames)), np.uint8)
        ends = np.concatenate([lap.ends + offset for lap, offset in zip(laps, offsets, strict=True)])
        view, bounds = self._buffer.data, [0, *ends.tolist()]
        self._views = [view[begin:end] for begin, end in itertools.pairwise(bounds)]
        self._places = [np.concatenate([lap.places[number] + offset for lap, offset in zip(laps, offsets, strict=True)])
                        for number in range(len(venue.dialect.stamps))]
        self._records = np.concatenate([lap.records for lap in laps])
        self._rows = Rows.concat([lap.rows for lap in laps])
        self._ids = np.concatenate([lap.ids for lap in laps])
        for lap, start in zip(laps, self._starts, strict=True):
            lap.ids = self._ids[start:start + len(lap.rows)]

    def send(self, wanted: Ints, now_ns: int) -> None:
        """Send the wanted number of frames of each lap, but none to a connection whose queue is not empty."""
        begins, counts, laps = [], [], []
        for number in np.flatnonzero(wanted).tolist():
            lap = self.laps[number]
            if lap.connection.stream.queued or lap.connection.stream.closed:
                continue
            if lap.next_row == len(lap.rows):
                lap.start_again(self._venue.market.next_id)
            count = min(int(wanted[number]), len(lap.rows) - lap.next_row)
            begins.append(self._starts[number] + lap.next_row)
            counts.append(count)
            laps.append(lap)
            lap.next_row += count
            self.due[number] -= count
        if laps:
            self._push(laps, begins, counts, now_ns)

    def write_numbers(self, picked: Ints, at_ns: Ints) -> Records:
        """Write ids and times into these frames; return their records. at_ns: a time for each frame."""
        venue = self._venue
        at_ns = at_ns - at_ns % venue.dialect.timestamp_unit_ns
        ids = self._ids[picked]
        for stamp, places in zip(venue.dialect.stamps, self._places, strict=True):
            _write_digits(self._buffer, places[picked], ids if stamp.what == "id" else at_ns // stamp.unit_ns)
        records = self._records[picked]
        records["trade_id"], records["timestamp"] = ids, at_ns
        venue.made += len(picked)
        if venue.history.limit:
            rows = self._rows.take(picked)
            venue.history.add(Rows(rows.table, rows.symbol, ids, at_ns, rows.price, rows.quantity, rows.sell, rows.flags))
        return records

    def draw(self, count: float, random: np.random.Generator) -> tuple[list[ClientConnection], list[memoryview], Ints]:
        """Draw about `count` frames of all connections by their shares, shuffled; a connection's frames keep their order.

        Return the connection, the bytes and the row (for `write_numbers`) of each. A lap that ends starts again in the next draw.
        """
        self.due += self.shares * count
        wanted = self.due.astype(np.int64)
        begins = []
        for number, lap in enumerate(self.laps):
            if wanted[number] and lap.next_row == len(lap.rows):
                lap.start_again(self._venue.market.next_id)
            wanted[number] = min(int(wanted[number]), len(lap.rows) - lap.next_row) if wanted[number] else 0
            begins.append(self._starts[number] + lap.next_row)
            lap.next_row += int(wanted[number])
        self.due -= wanted
        of_lap = random.permutation(np.repeat(np.arange(len(self.laps)), wanted))
        first = np.cumsum(wanted) - wanted
        picked = np.empty(len(of_lap), np.int64)
        order = np.argsort(of_lap, kind="stable")
        picked[order] = np.repeat(np.array(begins, np.int64) - first, wanted) + np.arange(len(of_lap))
        return ([self.laps[number].connection for number in of_lap.tolist()],
                [self._views[number] for number in picked.tolist()], picked)

    def _push(self, laps: list[Lap], begins: list[int], counts: list[int], now_ns: int) -> None:
        venue, total = self._venue, sum(counts)
        edges = np.cumsum(counts)
        picked = np.repeat(np.array(begins) - edges + counts, counts) + np.arange(total)
        records = self.write_numbers(picked, np.full(total, now_ns))
        records["sent_at"] = now_ns
        sent, first = [], 0
        for lap, begin, count in zip(laps, begins, counts, strict=True):
            part = records[first:first + count]
            if lap.connection.push(self._views[begin:begin + count], part):
                sent.append(part)
            first += count
        for part in [records] if len(sent) == len(laps) else sent:
            venue.truth.add(part)


class BurstSource:
    """Sends a venue's laps at a rate of trades a second."""

    def __init__(self, venue: SimVenue, rate: float, lap_trades: int) -> None:
        self.rate = rate
        self._venue = venue
        self._drawn: Rows | None = None
        self._lap_trades = lap_trades
        self._laps: JoinedLaps | None = None
        self._routes: Routes | None = None

    def advance(self, seconds: float, from_ns: int, to_ns: int) -> None:
        """Send the frames that are due on each connection."""
        self.prepare()
        laps = self._laps
        if laps is None:
            return
        due = laps.shares * (self.rate * seconds)
        laps.due += due
        wanted = np.minimum(laps.due, np.minimum(CATCH_UP * due + 1, MOST_AT_ONCE)).astype(np.int64)
        if wanted.any():
            laps.send(wanted, to_ns)

    def behind(self) -> int:
        """Return how many trades are late because their connection does not read fast enough."""
        return int(self._laps.due.sum()) if self._laps is not None else 0

    def finished(self) -> bool:
        """Return False, because laps are repeated without end."""
        return False

    def prepare(self) -> None:
        """Make laps for connections whose subscriptions have changed."""
        venue, market = self._venue, self._venue.market
        routes = venue.routes()
        if routes is self._routes:
            return
        self._routes = routes
        drawn = self._draw()
        old = self._unfinished_laps()
        symbols_of = _symbols_of(routes.connections)
        laps, shares = [], []
        for connection in routes.connections:
            symbols = symbols_of.get(connection.number)
            if not symbols:
                continue
            lap = old.get(connection.number)
            if lap is not None and lap.symbols == symbols:
                laps.append(old.pop(connection.number))
            else:
                rows = drawn.take(np.isin(drawn.symbol, symbols))
                if not len(rows):
                    continue
                laps.append(Lap(venue, connection, rows, symbols))
            shares.append(float(market.weights[symbols].sum()))
        for lap in old.values():
            lap.return_ids(market.next_id)
        self._laps = JoinedLaps(venue, laps, [share / sum(shares) for share in shares]) if laps else None

    def _draw(self) -> Rows:
        """Return the trades for all laps, drawn once without using up ids."""
        if self._drawn is None:
            market, clock = self._venue.market, self._venue.clock
            ids = market.next_id.copy()
            self._drawn = market.next_trades(self._lap_trades, clock.now_ns(), clock.now_ns())
            market.next_id[:] = ids
        return self._drawn

    def _unfinished_laps(self) -> dict[int, Lap]:
        """Return the current laps by their connection's number, each with its due trades."""
        if self._laps is None:
            return {}
        for lap, due in zip(self._laps.laps, self._laps.due.tolist(), strict=True):
            lap.due = due
        return {lap.connection.number: lap for lap in self._laps.laps}


def _symbols_of(connections: list[ClientConnection]) -> dict[int, list[int]]:
    """Return the symbols that each connection gets: its own, except those that a newer connection has too."""
    owner: dict[int, int] = {}
    for connection in sorted(connections, key=lambda connection: connection.number):
        owner.update(dict.fromkeys(connection.symbols, connection.number))
    symbols_of: dict[int, list[int]] = {}
    for symbol in sorted(owner):
        symbols_of.setdefault(owner[symbol], []).append(symbol)
    return symbols_of


def _places(stamp: Stamp, frames: list[bytes], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions in the buffer of the digits of each frame's number, one row per frame."""
    marker, length = stamp.marker, len(stamp.marker)
    first = np.array([frame.index(marker) + length for frame in frames], np.int64) + starts
    return first[:, None] + np.arange(stamp.digits)


def _write_digits(buffer: NDArray[np.uint8], places: NDArray[np.int64], number: Ints) -> None:
    """Write each row's number as decimal digits into its places."""
    powers = 10 ** np.arange(places.shape[1] - 1, -1, -1)
    buffer[places] = number[:, None] // powers % 10 + ZERO
