"""Count the journal's trades by time, for comparison with a sink's.

It opens its own connections, so it never blocks the journal's thread. Counts come from the batch index; only batches that cross
the end of a minute are decoded. Damaged and locked batches are not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.codec import BatchDecoder
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.reader import SegmentReader, ignore_damage
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED, connect

HOUR_NS = 60 * MINUTE_NS
AT_ONCE, PAUSE_S = 20, 0.001  # batches decoded without a pause: the hub needs the interpreter lock too
_WHOLE = """SELECT first_timestamp / ?1, sum(trades) FROM batches INDEXED BY batches_time
    WHERE last_timestamp >= ?2 AND first_timestamp < ?3 AND first_timestamp / ?1 = last_timestamp / ?1 AND id <= ?4 GROUP BY 1"""
_CROSSING = """SELECT head, body FROM batches
    WHERE last_timestamp >= ?2 AND first_timestamp < ?3 AND first_timestamp / ?1 != last_timestamp / ?1 AND id <= ?4"""
_FIRST = "SELECT min(id) FROM batches WHERE last_timestamp >= ? AND first_timestamp < ? AND id <= ?"
_UNREADABLE: tuple[type[Exception], ...] = (StorageError, *DAMAGED)
_FACTORS = np.random.default_rng(20261127).integers(1, 2**63, 64, np.uint64) | np.uint64(1)


class Census:
    """The counts of one journal. Use it from one thread at a time. Unreadable parts are silently left out."""

    def __init__(self, segments: Callable[[], Sequence[Segment]]) -> None:
        self._segments = segments
        self.stopped = False  # set this to abort a long count

    def locked(self) -> bool:
        """Return whether a segment is left out because it was locked at the start and is not read yet."""
        return any(segment.locked for segment in list(self._segments()))

    def minutes(self, from_ns: int, upto_id: int) -> Counter[int]:
        """Return the trades by minute (since 1970) from `from_ns` on, in the batches up to an id, doubles included."""
        found: Counter[int] = Counter()
        for segment in self._holding(from_ns, 2**63 - 1):
            try:
                found.update(self._minutes_of(segment, from_ns, min(upto_id, segment.last_id)))
            except _UNREADABLE:
                continue
        return found

    def hours(self, from_ns: int, to_ns: int) -> Counter[int]:
        """Return a lower bound of the trades by hour (since 1970) of [from_ns, to_ns), by the index."""
        found: Counter[int] = Counter()
        for segment in self._holding(from_ns, to_ns):
            try:
                connection = connect(segment.path, read_only=True)
                try:
                    found.update(dict(connection.execute(_WHOLE, (HOUR_NS, from_ns, to_ns, segment.last_id)).fetchall()))
                finally:
                    connection.close()
            except _UNREADABLE:
                continue
        return found

    def distinct(self, start_ns: int, end_ns: int, upto_id: int) -> int:
        """Return the number of distinct trades of [start_ns, end_ns) in the batches up to an id: the rows that a sink keeps."""
        seen: list[NDArray[np.uint64]] = []
        names = Catalogue()  # only for this count, so that an instrument has one id in every segment
        for segment in self._holding(start_ns, end_ns):
            try:
                reader = SegmentReader(segment.path, names, ignore_damage)
                try:
                    for number, (_, batch) in enumerate(reader.between(start_ns, end_ns, min(upto_id, segment.last_id)), 1):
                        inside = (batch.timestamp >= start_ns) & (batch.timestamp < end_ns)
                        seen.append(_fingerprints(batch.take(inside)))
                        if number % AT_ONCE == 0:
                            time.sleep(PAUSE_S)
                finally:
                    reader.close()
            except _UNREADABLE:
                continue
        return len(np.unique(np.concatenate(seen))) if seen else 0

    def first_batch(self, start_ns: int, end_ns: int) -> int | None:
        """Return the id of the oldest batch that may hold a trade of [start_ns, end_ns), None without one."""
        for segment in self._holding(start_ns, end_ns):
            try:
                connection = connect(segment.path, read_only=True)
                try:
                    number: int | None = connection.execute(_FIRST, (start_ns, end_ns, segment.last_id)).fetchone()[0]
                finally:
                    connection.close()
            except _UNREADABLE:
                continue
            if number is not None:
                return number
        return None

    def _holding(self, start_ns: int, end_ns: int) -> Iterator[Segment]:
        for segment in list(self._segments()):
            if self.stopped:
                return
            if (segment.readable and not segment.locked and segment.last_timestamp >= start_ns
                    and segment.first_timestamp < end_ns):
                yield segment

    def _minutes_of(self, segment: Segment, from_ns: int, upto_id: int) -> Counter[int]:
        found: Counter[int] = Counter()
        decoder = BatchDecoder()
        connection = connect(segment.path, read_only=True)
        try:
            asked = (MINUTE_NS, from_ns, 2**63 - 1, upto_id)
            found.update(dict(connection.execute(_WHOLE, asked).fetchall()))
            for number, parts in enumerate(connection.execute(_CROSSING, asked), 1):
                try:
                    found.update(trades_by_minute(decoder.decode(*parts), from_ns))
                except _UNREADABLE:
                    continue
                if number % AT_ONCE == 0:
                    if self.stopped:
                        break
                    time.sleep(PAUSE_S)
        finally:
            connection.close()
        return found


def trades_by_minute(batch: TradeBatch, from_ns: int) -> Counter[int]:
    """Return the number of trades by minute (since 1970), of the trades from `from_ns` on."""
    minutes = batch.timestamp[batch.timestamp >= from_ns] // MINUTE_NS
    if not len(minutes):
        return Counter()
    first = int(minutes.min())
    if int(minutes.max()) - first > 100_000:  # a stray trade lies far from the rest
        numbers, counts = np.unique(minutes, return_counts=True)
        return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    counts = np.bincount(minutes - first)
    return Counter({first + at: int(counts[at]) for at in np.flatnonzero(counts).tolist()})


def _fingerprints(batch: TradeBatch) -> NDArray[np.uint64]:
    """Return a number for each trade; two trades share it only if instrument, timestamp and id are equal."""
    found: NDArray[np.uint64] = batch.timestamp.view(np.uint64) * _FACTORS[0] + batch.trade_id.view(np.uint64) * _FACTORS[1]
    found += batch.instrument.astype(np.uint64) * _FACTORS[2]
    if batch.text_id is not None and len(batch):
        width = batch.text_id.dtype.itemsize
        letters = np.ascontiguousarray(batch.text_id).view(np.uint8).reshape(len(batch), width)
        found += letters.astype(np.uint64) @ np.resize(_FACTORS[3:], width)
    return found

