"""Read the files of one journal: keep a few open, record damage, report locks.

A damaged file or batch is recorded and left out. A file that another process has locked raises StorageError instead: leaving it
out would skip good trades, so the caller tries again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.damage import Damage
from pumpwatch.store.last_ids import Name
from pumpwatch.store.reader import SegmentReader, by_time
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED, raise_if_temporary

KEPT_OPEN = 4


class SegmentReaders:
    """The open readers of one journal's segments. Use it from one thread."""

    def __init__(self, catalogue: Catalogue, damage: Damage, run: str) -> None:
        self._catalogue, self._damage, self._run = catalogue, damage, run
        self._open: dict[Path, SegmentReader] = {}

    def after(self, segments: Sequence[Segment], batch_id: int) -> Iterator[tuple[int, TradeBatch]]:
        """Yield the readable batches after an id, in order.

        Raises StorageError at the first locked segment, after the batches before it.
        """
        for segment in segments:
            if segment.last_id <= batch_id or not segment.readable:
                continue
            reader = self._reader(segment)
            if reader is not None:
                yield from reader.after(max(batch_id, segment.first_id - 1), segment.last_id)

    def query(self, segments: Sequence[Segment], names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch:
        """Return these instruments' readable trades in [start_ns, end_ns), by timestamp.

        Raises StorageError if a segment of that time is locked.
        """
        found: list[TradeBatch] = []
        for segment in segments:
            if segment.last_timestamp < start_ns or segment.first_timestamp >= end_ns or not segment.readable:
                continue
            reader = self._reader(segment)
            if reader is not None:
                try:
                    found.append(reader.find(names, start_ns, end_ns, segment.last_id, by_index=not segment.index_damaged))
                except DAMAGED as error:
                    raise_if_temporary(error, segment.path)
                    self._damage.add_file(segment.path, error)
        return by_time(found)

    def close_one(self, path: Path) -> None:
        """Close the reader of one file, if it is open."""
        reader = self._open.pop(path, None)
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close all readers."""
        for path in list(self._open):
            self.close_one(path)

    def _reader(self, segment: Segment) -> SegmentReader | None:
        """Return the segment's reader, None if the file is damaged or gone. Raises StorageError if it is locked."""
        if segment.locked:
            raise StorageError(f"{segment.path}: the segment is locked by another process")
        reader = self._open.pop(segment.path, None)
        if reader is None:
            try:
                reader = SegmentReader(segment.path, self._catalogue, self._damage.add_batch, own_run=segment.run == self._run)
            except (sqlite3.Error, StorageError) as error:
                raise_if_temporary(error, segment.path)
                self._damage.add_file(segment.path, error)
                return None
        self._open[segment.path] = reader
        while len(self._open) > KEPT_OPEN:
            self.close_one(next(iter(self._open)))
        return reader
