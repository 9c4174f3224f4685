"""The files of an open journal: read them, record their damage, remove expired ones.

Damage becomes a gap before the reader that met it gets its result, and is kept in the list of segments. The list is written when
a file is created, closed or removed, and when damage was recorded.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.damage import Damage, record_cut
from pumpwatch.store.expiry import Removed, choose, record_early
from pumpwatch.store.last_ids import Name
from pumpwatch.store.locked import read_again
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.names import load_names, venues_in
from pumpwatch.store.reader import in_order
from pumpwatch.store.readers import SegmentReaders
from pumpwatch.store.segment import Segment, sync_folder, unlink
from pumpwatch.store.sqlite import is_temporary, storage_error

log = logging.getLogger(__name__)

LIST_S = 60.0  # the list is written this often while the newest segment grows


class Inventory:
    """The segments of one journal, oldest first, the open one last. Use it from one thread."""

    def __init__(self, segments: list[Segment], manifest: SegmentManifest, damage: Damage, catalogue: Catalogue, clock: Clock,
                 run: str) -> None:
        self.segments, self.manifest, self.damage = segments, manifest, damage
        self.readers = SegmentReaders(catalogue, damage, run)
        self.uncounted: list[Segment] = []  # locked at the start, so the last ids do not include their trades
        self._catalogue, self._clock = catalogue, clock
        self._written_s = float("-inf")

    def add(self, segment: Segment) -> None:
        """Add a new segment."""
        self.segments.append(segment)

    def record_damage(self) -> None:
        """Record new damage as gaps."""
        if self.damage.record_found(self.segments):
            self.write_list()

    def write_list(self) -> None:
        """Write the list of segments, unless a kill could lose a gap that the list counts as recorded."""
        self.manifest.dirty = True
        if self.damage.kept():
            self._written_s = self._clock.monotonic()
            self.manifest.write(self.segments)

    def maintain(self) -> None:
        """Record damage, read segments that are no longer locked, and write the list if it is due."""
        self._read_locked()
        self.record_damage()
        grows = bool(self.segments) and not self.segments[-1].state
        if self.manifest.dirty or (grows and self._clock.monotonic() - self._written_s > LIST_S):
            self.write_list()

    def read_after(self, batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        """Return the batches after an id in order: at least one if any exists, and about `max_rows` trades.

        Raises StorageError if the first of them is, or may be, in a locked segment.
        """
        self._read_locked()
        found: list[tuple[int, TradeBatch]] = []
        rows = 0
        try:
            for number, batch in self._in_turn(batch_id):
                found.append((number, batch))
                rows += len(batch)
                if rows >= max_rows:
                    break
        except StorageError:
            if not found:
                raise
        finally:
            self.record_damage()
        return found

    def _in_turn(self, batch_id: int) -> Iterator[tuple[int, TradeBatch]]:
        """Yield the batches after an id in order. Raises StorageError before a file that a locked file may precede.

        The ids of a locked file that is not in the list are guessed from its name.
        """
        guessed = [segment.path.name for segment in self.segments
                   if segment.locked and segment.path.name not in self.manifest.segments]
        for segment in list(self.segments):
            if segment.readable and segment.last_id > batch_id and any(name < segment.path.name for name in guessed):
                raise StorageError(f"{segment.path}: a segment before it is locked by another process: {min(guessed)}")
            yield from self.readers.after([segment], batch_id)

    def query(self, names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch:
        """Return these instruments' trades in [start_ns, end_ns), by timestamp.

        Raises StorageError if a segment of that time is locked.
        """
        self._read_locked()
        try:
            return self.readers.query(list(self.segments), names, start_ns, end_ns)
        finally:
            self.record_damage()

    def _read_locked(self) -> None:
        """Read the segments that were locked at the start and no longer are."""
        for segment in [segment for segment in self.segments if segment.locked]:
            try:
                lost = read_again(segment, self.manifest)
            except (sqlite3.Error, ValueError, TypeError, KeyError, OSError, StorageError) as error:
                if is_temporary(error) and segment.path.exists():
                    continue
                segment.locked = False
                self.damage.add_file(segment.path, error)
                continue
            log.info("journal segment is no longer locked file=%s trades=%d", segment.path.name, segment.trades)
            segment.venues = segment.venues or venues_in(segment.path)
            if lost:
                record_cut(self.damage, segment, lost, {venue for known in self.segments for venue in known.venues})
            load_names([segment], self._catalogue, self.damage.log_damage)
            unreadable = [known for known in self.segments if not known.readable]
            self.segments[:] = [*unreadable, *in_order([known for known in self.segments if known.readable])]
            self.manifest.dirty = True

    def found_damage(self, path: Path, batches: Mapping[int, str], index_damaged: bool, whole: str) -> None:
        """Record the new part of the damage that a check of a closed segment found."""
        for number, why in batches.items():
            self.damage.add_batch(path, number, why)
        if index_damaged:
            self.damage.add_index(path)
        if whole:
            self.damage.add_file(path, whole)
        self.record_damage()

    def expire(self, before_ns: int, max_bytes: int, acknowledged: int | None, span_s: float,
               counted: int | None = None) -> list[Removed]:
        """Unlink the segments that `expiry.choose` returns. A segment that is removed early and is in no sink becomes a gap.

        Raises StorageError if a file cannot be removed.
        """
        chosen = choose(self.segments, before_ns, max_bytes, acknowledged, span_s, counted)
        if not chosen:
            return []
        if acknowledged is None:
            record_early(self.damage, self.manifest, [removed for removed in chosen if removed.early], before_ns)
        for removed in chosen:
            self.manifest.explain(removed.segment.first_id, removed.segment.last_id)
        going = {id(removed.segment) for removed in chosen}
        self.manifest.forget(before_ns)
        self.manifest.dirty = True
        if self.damage.kept():  # the list first: if the removal fails, the next start adds the file again
            self.manifest.write([segment for segment in self.segments if id(segment) not in going])
        for removed in chosen:
            self.readers.close_one(removed.path)
            try:
                unlink(removed.path)
                sync_folder(removed.path.parent)
            except OSError as error:
                self.manifest.dirty = True
                raise storage_error(removed.path, "remove", error) from error
            self.segments.remove(removed.segment)
            self.uncounted = [segment for segment in self.uncounted if segment is not removed.segment]
            if self.manifest.dirty:  # the disk may have room for it now
                self.write_list()
        return chosen
