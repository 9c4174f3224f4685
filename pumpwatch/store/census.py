"""What the journal holds by time, to be compared with what a sink has.

Looks into the segments with connections of its own, so the journal's thread is never held up by it. Counts come from
the batch index; only batches that reach over a minute's end are opened. What cannot be read counts as not there.
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
from pumpwatch.store.reader import SegmentReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED, connect

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
AT_ONCE, PAUSE_S = 20, 0.001  # batches opened without a pause: the hub needs this process's one lock too
_WHOLE = """SELECT first_timestamp / ?1, sum(trades) FROM batches INDEXED BY batches_time
    WHERE last_timestamp >= ?2 AND first_timestamp < ?3 AND first_timestamp / ?1 = last_timestamp / ?1 AND id <= ?4 GROUP BY 1"""
_CROSSING = """SELECT head, body FROM batches
    WHERE last_timestamp >= ?2 AND first_timestamp < ?3 AND first_timestamp / ?1 != last_timestamp / ?1 AND id <= ?4"""
_FIRST = "SELECT min(id) FROM batches WHERE last_timestamp >= ? AND first_timestamp < ? AND id <= ?"
_DAMAGED_BATCH: tuple[type[Exception], ...] = (StorageError, *DAMAGED)
_FACTORS = np.random.default_rng(20261127).integers(1, 2**63, 64, np.uint64) | np.uint64(1)


class Census:
    """One thread at a time. Damage is left to those who read for good: what cannot be read is passed over."""

    def __init__(self, segments: Callable[[], Sequence[Segment]]) -> None:
        self._segments = segments
        self.stopped = False  # set it to have a long look end early

    def minutes(self, from_ns: int, upto_id: int) -> Counter[int]:
        """Return the trades a minute (number since 1970) from then on in the batches up to an id, doubles included."""
        found: Counter[int] = Counter()
        for segment in self._holding(from_ns, 2**63 - 1):
            try:
                found.update(self._minutes_of(segment, from_ns, min(upto_id, segment.last_id)))
            except DAMAGED:
                continue
        return found

    def hours(self, from_ns: int, to_ns: int) -> Counter[int]:
        """Return the least number of trades an hour of [from_ns, to_ns), by the index alone."""
        found: Counter[int] = Counter()
        for segment in self._holding(from_ns, to_ns):
            try:
                connection = connect(segment.path, read_only=True)
                try:
                    found.update(dict(connection.execute(_WHOLE, (HOUR_NS, from_ns, to_ns, segment.last_id)).fetchall()))
                finally:
                    connection.close()
            except DAMAGED:
                continue
        return found

    def distinct(self, start_ns: int, end_ns: int, upto_id: int) -> int:
        """Return how many different trades of [start_ns, end_ns) the batches up to an id hold: what a sink would keep."""
        seen: list[NDArray[np.uint64]] = []
        names = Catalogue()  # numbers of this count alone: the same in every segment
        for segment in self._holding(start_ns, end_ns):
            try:
                reader = SegmentReader(segment.path, names, _pass_over)
                try:
                    for number, (_, batch) in enumerate(reader.between(start_ns, end_ns, min(upto_id, segment.last_id)), 1):
                        inside = (batch.timestamp >= start_ns) & (batch.timestamp < end_ns)
                        seen.append(_fingerprints(batch.take(inside)))
                        if number % AT_ONCE == 0:
                            time.sleep(PAUSE_S)
                finally:
                    reader.close()
            except DAMAGED:
                continue
        return len(np.unique(np.concatenate(seen))) if seen else 0

    def first_batch(self, start_ns: int, end_ns: int) -> int | None:
        """Return the oldest batch that may hold a trade of [start_ns, end_ns), None where none does."""
        for segment in self._holding(start_ns, end_ns):
            try:
                connection = connect(segment.path, read_only=True)
                try:
                    number: int | None = connection.execute(_FIRST, (start_ns, end_ns, segment.last_id)).fetchone()[0]
                finally:
                    connection.close()
            except DAMAGED:
                continue
            if number is not None:
                return number
        return None

    def _holding(self, start_ns: int, end_ns: int) -> Iterator[Segment]:
        for segment in list(self._segments()):
            if self.stopped:
                return
            if segment.readable and segment.last_timestamp >= start_ns and segment.first_timestamp < end_ns:
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
                    found.update(minutes_of(decoder.decode(*parts), from_ns))
                except _DAMAGED_BATCH:
                    continue
                if number % AT_ONCE == 0:
                    if self.stopped:
                        break
                    time.sleep(PAUSE_S)
        finally:
            connection.close()
        return found


def minutes_of(batch: TradeBatch, from_ns: int) -> Counter[int]:
    """Return the trades a minute (number since 1970) of those with a timestamp from then on."""
    minutes = batch.timestamp[batch.timestamp >= from_ns] // MINUTE_NS
    if not len(minutes):
        return Counter()
    first = int(minutes.min())
    if int(minutes.max()) - first > 100_000:  # a stray one lies far from the rest
        numbers, counts = np.unique(minutes, return_counts=True)
        return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    counts = np.bincount(minutes - first)
    return Counter({first + at: int(counts[at]) for at in np.flatnonzero(counts).tolist()})


def _fingerprints(batch: TradeBatch) -> NDArray[np.uint64]:
    """Return a number a trade that two trades share only where instrument, timestamp and id are the same."""
    found: NDArray[np.uint64] = batch.timestamp.view(np.uint64) * _FACTORS[0] + batch.trade_id.view(np.uint64) * _FACTORS[1]
    found += batch.instrument.astype(np.uint64) * _FACTORS[2]
    if batch.text_id is not None and len(batch):
        width = batch.text_id.dtype.itemsize
        letters = np.ascontiguousarray(batch.text_id).view(np.uint8).reshape(len(batch), width)
        found += letters.astype(np.uint64) @ np.resize(_FACTORS[3:], width)
    return found


def _pass_over(*damage: object) -> None:
    """Say nothing of damage."""
