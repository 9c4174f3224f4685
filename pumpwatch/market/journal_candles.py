"""Make candles from a journal's trades, while another process writes to it. Minutes are read in parts, to limit memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.market.candle_builder import candles_of, joined, keys_of
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.model import Int64, TradeBatch
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.reader import FOLDER, SUFFIX, SegmentReader, ignore_damage, in_order
from pumpwatch.store.segment import Segment, read_segment
from pumpwatch.store.sqlite import DAMAGED, raise_if_temporary

PART_ROWS = 250_000  # trades in memory at a time
NAMES = 200  # instruments that are looked up at a time


@dataclass(frozen=True, slots=True)
class JournalPosition:
    """A place in a journal: every batch up to `batch` was taken into account for the minutes before `minute` (since 1970)."""

    batch: int
    minute: int

    def text(self) -> str:
        """Return it as a mark of a store."""
        return f"{self.batch} {self.minute}"

    @staticmethod
    def of(text: str) -> JournalPosition | None:
        """Return the position in a mark; None for another text."""
        parts = text.split()
        return JournalPosition(*map(int, parts)) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


class JournalCandles:
    """The journal as of the creation of this object. Close it soon: it keeps files open.

    The constructor and the methods raise StorageError if a file is locked.
    """

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._readers: dict[Path, SegmentReader | None] = {}
        self.segments = _segments(folder)

    @property
    def last_id(self) -> int:
        """Return the last batch, 0 without one."""
        return max((segment.last_id for segment in self.segments), default=0)

    @property
    def first_minute(self) -> int:
        """Return the minute in which the journal begins: earlier trades came late. 0 without a journal."""
        return min((segment.created_ns for segment in self.segments), default=0) // MINUTE_NS

    @property
    def whole_from(self) -> int:
        """Return the first minute of which no trade can have expired."""
        return self.first_minute + 1 if self.segments and self.segments[0].first_id > 1 else 0

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers.values():
            if reader is not None:
                reader.close()
        self._readers.clear()

    def touched(self, after_id: int, before_minute: int) -> Int64:
        """Return the keys (see `keys_of`) of the trades before a minute that batches after an id hold, ascending."""
        end_ns, found = before_minute * MINUTE_NS, [np.empty(0, np.int64)]
        for segment in self.segments:
            if segment.last_id > after_id and segment.first_timestamp < end_ns:
                for batch in self._batches(segment, 0, end_ns, after_id):
                    found.append(np.unique(keys_of(batch.take(batch.timestamp < end_ns))))
        return np.unique(np.concatenate(found))

    def next_minute(self, minute: int) -> int | None:
        """Return the first minute from `minute` on that any file may have trades of."""
        starts = [max(segment.first_timestamp // MINUTE_NS, minute) for segment in self.segments
                  if segment.last_id >= segment.first_id and segment.last_timestamp // MINUTE_NS >= minute]
        return min(starts, default=None)

    def minute(self, minute: int) -> CandleColumns:
        """Return the candles of a minute, of all instruments."""
        start_ns, end_ns = minute * MINUTE_NS, (minute + 1) * MINUTE_NS
        holding, rows = self._holding(start_ns, end_ns), 0
        for segment in holding:
            with self._reading(segment) as reader:
                rows += segment.trades if segment.index_damaged else (
                    reader.count_between(start_ns, end_ns, -1, segment.last_id) if reader else 0)
        step_ns = -(-MINUTE_NS // max(1, -(-rows // PART_ROWS)))
        starts = range(start_ns, end_ns, step_ns) if rows else ()
        return joined([self._part(holding, at, min(at + step_ns, end_ns)) for at in starts])

    def _holding(self, start_ns: int, end_ns: int) -> list[Segment]:
        return [segment for segment in self.segments if segment.last_timestamp >= start_ns and segment.first_timestamp < end_ns]

    def _part(self, holding: Sequence[Segment], start_ns: int, end_ns: int) -> CandleColumns:
        """Return candles of the trades in [start_ns, end_ns), a part of a minute: doubles have the same time."""
        found = []
        for segment in holding:
            for batch in self._batches(segment, start_ns, end_ns):
                inside = (batch.timestamp >= start_ns) & (batch.timestamp < end_ns)
                found.append(batch if inside.all() else batch.take(inside))
        return candles_of(TradeBatch.concat(found))

    def some(self, instruments: Sequence[int], minute: int) -> CandleColumns:
        """Return the candles of a minute of some instruments."""
        start_ns, end_ns = minute * MINUTE_NS, (minute + 1) * MINUTE_NS
        parts = []
        for first in range(0, len(instruments), NAMES):
            names, found = self._catalogue.names(instruments[first:first + NAMES]), []
            for segment in self._holding(start_ns, end_ns):
                with self._reading(segment) as reader:
                    if reader:
                        found.append(reader.find(names, start_ns, end_ns, segment.last_id, by_index=not segment.index_damaged))
            parts.append(candles_of(TradeBatch.concat(found)))
        return CandleColumns.concat(parts)

    def _batches(self, segment: Segment, start_ns: int, end_ns: int, after_id: int = -1) -> Iterator[TradeBatch]:
        with self._reading(segment) as reader:
            if reader is None:
                return
            numbered = (reader.after(max(after_id, segment.first_id - 1), segment.last_id) if segment.index_damaged else
                        reader.between(start_ns, end_ns, segment.last_id, after_id))
            for _, batch in numbered:
                yield batch

    @contextmanager
    def _reading(self, segment: Segment) -> Iterator[SegmentReader | None]:
        """Yield the open file; None if it is damaged or was removed. Other readers report damage."""
        if segment.path not in self._readers:
            try:
                self._readers[segment.path] = SegmentReader(segment.path, self._catalogue, ignore_damage)
            except sqlite3.Error as error:
                raise_if_temporary(error, segment.path)
                self._readers[segment.path] = None
        try:
            yield self._readers[segment.path]
        except sqlite3.Error as error:
            raise_if_temporary(error, segment.path)


def _segments(folder: Path) -> list[Segment]:
    found, manifest = [], SegmentManifest.read(folder)
    for path in sorted((folder / FOLDER).glob(f"*{SUFFIX}")):
        try:
            segment = read_segment(path)
        except DAMAGED as error:
            if path.exists():
                raise_if_temporary(error, path)
            continue
        manifest.recall(segment)
        found.append(segment)
    return in_order(found)
