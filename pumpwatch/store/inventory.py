"""The files of a journal at work: reading them, what is damaged of them, what may go.

Whatever damage is met while reading becomes a gap before the reader gets its answer, and is remembered in the list of
segments, which is written when a file is made, closed or removed, and when damage was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.model import TradeBatch
from pumpwatch.store.damage import Damage
from pumpwatch.store.expiry import Removed, choose, note_early
from pumpwatch.store.last_ids import Name
from pumpwatch.store.manifest import SegmentManifest
from pumpwatch.store.readers import SegmentReaders
from pumpwatch.store.segment import Segment, sync_folder, unlink
from pumpwatch.store.sqlite import storage_error

LIST_S = 60.0  # the list is written this often while the newest segment grows


class Inventory:
    """The segments of one journal, oldest first, the written one last. One thread, except where said."""

    def __init__(self, segments: list[Segment], manifest: SegmentManifest, damage: Damage, catalogue: Catalogue, clock: Clock,
                 run: str) -> None:
        self.segments, self.manifest, self.damage = segments, manifest, damage
        self.readers = SegmentReaders(catalogue, damage, run)
        self._clock = clock
        self._written_s = float("-inf")

    def add(self, segment: Segment) -> None:
        """Take a segment that was made."""
        self.segments.append(segment)

    def record_damage(self) -> None:
        """Record the damage that was met."""
        if self.damage.record_found(self.segments):
            self.write_list()

    def write_list(self) -> None:
        """Write the list of segments; not while a gap waits that it would count as recorded."""
        self.manifest.dirty = True
        if not self.damage.waits:
            self._written_s = self._clock.monotonic()
            self.manifest.write(self.segments)

    def maintain(self) -> None:
        """Do what may wait."""
        self.record_damage()
        grows = bool(self.segments) and not self.segments[-1].state
        if self.manifest.dirty or (grows and self._clock.monotonic() - self._written_s > LIST_S):
            self.write_list()

    def read_after(self, batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        """Return the batches after an id in order, at least one if there is any, and about `max_rows` trades."""
        found: list[tuple[int, TradeBatch]] = []
        rows = 0
        for number, batch in self.readers.after(list(self.segments), batch_id):
            found.append((number, batch))
            rows += len(batch)
            if rows >= max_rows:
                break
        self.record_damage()
        return found

    def query(self, names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch:
        """Return these instruments' trades in [start_ns, end_ns), by timestamp."""
        found = self.readers.query(list(self.segments), names, start_ns, end_ns)
        self.record_damage()
        return found

    def found_damage(self, path: Path, batches: Mapping[int, str], index_damaged: bool, whole: str) -> None:
        """Take what a look at a closed segment found, and record what is new of it."""
        for number, why in batches.items():
            self.damage.batch(path, number, why)
        if index_damaged:
            self.damage.index(path)
        if whole:
            self.damage.whole(path, whole)
        self.record_damage()

    def expire(self, before_ns: int, max_bytes: int, acknowledged: int | None, span_s: float) -> list[Removed]:
        """Unlink what `expiry.choose` names. What goes before its time, and no sink has it, is a gap.

        Raises StorageError where a file cannot be removed.
        """
        chosen = choose(self.segments, before_ns, max_bytes, acknowledged, span_s)
        if not chosen:
            return []
        if acknowledged is None:
            note_early(self.damage, self.manifest, [one for one in chosen if one.early], before_ns)
        for one in chosen:
            self.manifest.explain(one.segment.first_id, one.segment.last_id)
        going = {id(one.segment) for one in chosen}
        self.manifest.forget(before_ns)
        if not self.damage.waits:  # first the list: a file that stays against it is taken in again
            self.manifest.write([one for one in self.segments if id(one) not in going])
        for one in chosen:
            self.readers.close_one(one.path)
            try:
                unlink(one.path)
                sync_folder(one.path.parent)
            except OSError as error:
                self.manifest.dirty = True
                raise storage_error(one.path, "remove", error) from error
            self.segments.remove(one.segment)
        return chosen
