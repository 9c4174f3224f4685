"""Keep stored trades of short times decoded in memory, so that queries of many instruments read the disk once.

Time is cut into slices of SLICE_NS. A slice of one file holds its trades by instrument. It grows with the file: each query first
reads the batches that were written since the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.store.reader import SegmentReader
from pumpwatch.store.segment import Segment

SLICE_NS = 15 * NS_PER_S
LONGEST_NS = 300 * NS_PER_S  # longer queries are of rarely traded symbols, for which the file's index is better
KEPT_TRADES = 1_000_000  # about 55 MB, or twice that if ids are texts
LARGEST_TRADES = KEPT_TRADES // 5  # a larger slice is not kept, and the file's index is used
PARTS = 8


@dataclass(slots=True)
class _Slice:
    """The trades of a slice, up to batch `last_id`: parts in storage order, each grouped by instrument."""

    last_id: int = 0
    trades: int = 0
    parts: list[TradeBatch] = field(default_factory=list)

    def add(self, batches: list[TradeBatch]) -> None:
        batch = TradeBatch.concat(batches)
        self.trades += len(batch)
        self.parts.append(batch.take(batch.instrument.argsort(kind="stable")))
        if len(self.parts) > PARTS:
            whole = TradeBatch.concat(self.parts)
            self.parts = [whole.take(whole.instrument.argsort(kind="stable"))]

    def of(self, number: int) -> Iterator[TradeBatch]:
        for part in self.parts:
            first, last = part.instrument.searchsorted((number, number + 1)).tolist()
            if first < last:
                yield part.take(slice(first, last))


class SliceCache:
    """The most recently used slices, with at most KEPT_TRADES in all. Use it from one thread."""

    def __init__(self) -> None:
        self._slices: dict[tuple[Path, int], _Slice] = {}  # in order of last use
        self._trades = 0

    def find(self, segment: Segment, number: int, start_ns: int, end_ns: int,
             reader: Callable[[], SegmentReader]) -> TradeBatch | None:
        """Return an instrument's trades of a file in [start_ns, end_ns), in storage order; None if they are not kept here.

        number: the instrument's id in this process. reader(): opens the file; called only if it must be read.
        """
        if end_ns - start_ns > LONGEST_NS:
            return None
        found: list[TradeBatch] = []
        last_id = segment.last_id
        first_ns, last_ns = max(start_ns, segment.first_timestamp), min(end_ns, segment.last_timestamp + 1)
        for place in range(first_ns // SLICE_NS, -(-last_ns // SLICE_NS)):
            kept = self._updated(segment, last_id, place, reader)
            if kept is None:
                return None
            found += kept.of(number)
        batch = TradeBatch.concat(found)
        return batch.take((batch.timestamp >= start_ns) & (batch.timestamp < end_ns))

    def _updated(self, segment: Segment, last_id: int, place: int, reader: Callable[[], SegmentReader]) -> _Slice | None:
        key = segment.path, place
        kept = self._slices.pop(key, None)
        self._trades -= kept.trades if kept else 0
        if kept is None or kept.last_id < last_id:
            start_ns, end_ns = place * SLICE_NS, (place + 1) * SLICE_NS
            source, after_id = reader(), kept.last_id if kept else segment.first_id - 1
            known = kept.trades if kept else 0
            if known + source.count_between(start_ns, end_ns, after_id, last_id) > LARGEST_TRADES:
                return None
            kept = kept or _Slice()
            batches = [batch.take((batch.timestamp >= start_ns) & (batch.timestamp < end_ns))
                       for _, batch in source.between(start_ns, end_ns, last_id, after_id)]
            if batches:
                kept.add(batches)
            kept.last_id = last_id
        self._slices[key] = kept
        self._trades += kept.trades
        while self._trades > KEPT_TRADES and len(self._slices) > 1:
            self._trades -= self._slices.pop(next(iter(self._slices))).trades
        return kept

    def forget(self, paths: set[Path]) -> None:
        """Drop the slices of files other than these."""
        for key in [key for key in self._slices if key[0] not in paths]:
            self._trades -= self._slices.pop(key).trades

    def clear(self) -> None:
        """Drop everything."""
        self._slices.clear()
        self._trades = 0
