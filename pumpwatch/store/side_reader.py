"""Look up trades of an open journal in another thread than its own, so that a commit never waits for a look-up.

It reads by connections of its own, and sees every trade that was durable when the look-up began. It notes no damage: where
anything is locked, damaged or gone, the journal itself has to be asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.last_ids import Name
from pumpwatch.store.reader import SegmentReader, by_time
from pumpwatch.store.segment import Segment

KEPT_OPEN = 4


class _Unusual(Exception):
    """The journal itself has to be asked."""


class SideReader:
    """Reads the segments of a journal of this process. Use it from one thread, which need not be the journal's.

    segments(): the journal's segments as they are now, oldest first. run: the journal's own run.
    """

    def __init__(self, segments: Callable[[], Sequence[Segment]], run: str, catalogue: Catalogue) -> None:
        self._segments, self._run, self._catalogue = segments, run, catalogue
        self._open: dict[Path, SegmentReader] = {}  # of closed files: an open one is opened for each look-up

    def query(self, names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch | None:
        """Return these instruments' trades in [start_ns, end_ns), by timestamp; None where the journal has to be asked."""
        segments = self._segments()
        for path in self._open.keys() - {segment.path for segment in segments}:
            self._open.pop(path).close()  # it expired: an open file would keep its room on the disk
        found: list[TradeBatch] = []
        try:
            for segment in segments:
                if segment.locked:
                    return None
                if segment.last_timestamp >= start_ns and segment.first_timestamp < end_ns and segment.readable:
                    found.append(self._find(segment, names, start_ns, end_ns))
        except (sqlite3.Error, StorageError, _Unusual):
            self.close()
            return None
        return by_time(found)

    def _find(self, segment: Segment, names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch:
        kept = bool(segment.state)
        reader = self._open.pop(segment.path, None) or SegmentReader(
            segment.path, self._catalogue, self._meet_damage, own_run=segment.run == self._run)
        try:
            batch = reader.find(names, start_ns, end_ns, segment.last_id, by_index=not segment.index_damaged)
        except BaseException:
            reader.close()
            raise
        if not kept:
            reader.close()  # so that its writer can make it one plain file
            return batch
        self._open[segment.path] = reader
        while len(self._open) > KEPT_OPEN:
            self._open.pop(next(iter(self._open))).close()
        return batch

    def _meet_damage(self, path: Path, batch_id: int, why: str) -> None:
        raise _Unusual(f"{path.name}: batch {batch_id}: {why}")

    def close(self) -> None:
        """Close the files that are open. A later look-up opens them again."""
        for path in list(self._open):
            self._open.pop(path).close()
