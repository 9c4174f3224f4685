"""Query an open journal from another thread than its own, so that no commit waits for a query.

The reader has its own connections, and sees every trade that was durable at the beginning of the query. It records no damage:
if anything is locked, damaged or gone, the caller must query the journal itself. Batches whose damage the journal has recorded
are left out, as in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.last_ids import Name
from pumpwatch.store.manifest import outside
from pumpwatch.store.reader import SegmentReader, by_time
from pumpwatch.store.segment import Segment
from pumpwatch.store.slice_cache import SliceCache
from pumpwatch.store.sqlite import DAMAGED, raise_if_temporary

KEPT_OPEN = 8


class _Unusual(Exception):
    """The caller must query the journal itself."""


UNUSUAL: tuple[type[Exception], ...] = (*DAMAGED, StorageError, _Unusual)


class SideReader:
    """Reads the segments of a journal of this process. Use it from one thread, which need not be the journal's.

    segments(): returns the journal's current segments, oldest first. run: the journal's own run.
    """

    def __init__(self, segments: Callable[[], Sequence[Segment]], run: str, catalogue: Catalogue) -> None:
        self._segments, self._run, self._catalogue = segments, run, catalogue
        self._open: dict[Path, SegmentReader] = {}
        self._cache = SliceCache()
        self._without_index: set[Path] = set()  # files with an unreadable time index

    def query(self, name: Name, start_ns: int, end_ns: int) -> TradeBatch | None:
        """Return an instrument's trades in [start_ns, end_ns), by timestamp; None if the caller must query the journal."""
        number = self._catalogue.ids_of(name[:2]).get(name[2], -1)
        segments = self._segments()
        paths = {segment.path for segment in segments}
        self._cache.forget(paths)
        for path in self._open.keys() - paths:
            self._open.pop(path).close()  # it expired: an open file would keep its space on the disk
        found: list[TradeBatch] = []
        try:
            for segment in segments:
                if segment.locked:
                    return None
                if segment.last_timestamp >= start_ns and segment.first_timestamp < end_ns and segment.readable:
                    found.append(self._find(segment, name, number, start_ns, end_ns))
        except UNUSUAL:
            self.close()
            return None
        finally:
            self._close_written(segments)
        return by_time(found)

    def _find(self, segment: Segment, name: Name, number: int, start_ns: int, end_ns: int) -> TradeBatch:
        last_id = segment.last_id
        if not segment.index_damaged and segment.path not in self._without_index:
            try:
                batch = self._cache.find(segment, number, start_ns, end_ns, partial(self._opened, segment))
                return batch if batch is not None else self._opened(segment).find((name,), start_ns, end_ns, last_id)
            except DAMAGED as error:
                raise_if_temporary(error, segment.path)
        batch = self._opened(segment).find((name,), start_ns, end_ns, last_id, by_index=False)
        self._without_index.add(segment.path)
        return batch

    def _opened(self, segment: Segment) -> SegmentReader:
        reader = self._open.pop(segment.path, None) or SegmentReader(
            segment.path, self._catalogue, partial(self._meet_damage, segment), own_run=segment.run == self._run)
        self._open[segment.path] = reader  # in order of last use
        while len(self._open) > KEPT_OPEN:
            self._open.pop(next(iter(self._open))).close()
        return reader

    def _close_written(self, segments: Sequence[Segment]) -> None:
        """Close the open segment's file, so that its writer can end WAL mode."""
        for segment in segments:
            if not segment.state and segment.path in self._open:
                self._open.pop(segment.path).close()

    def _meet_damage(self, segment: Segment, path: Path, batch_id: int, why: str) -> None:
        if outside(batch_id, batch_id, segment.damaged):  # the journal does not know this damage yet
            raise _Unusual(f"{path.name}: batch {batch_id}: {why}")

    def close(self) -> None:
        """Close all files and forget the trades in memory. A later query reads them again."""
        self._cache.clear()
        for path in list(self._open):
            self._open.pop(path).close()
