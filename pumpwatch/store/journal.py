"""The journal: where a trade becomes durable, and the embedded store.

Segments of an hour in `journal/`, the ledger beside them. A commit is one SQLite transaction with `synchronous=FULL`:
when it returns its trades survive the power cut, when it raises none of them are stored and the caller keeps them. Its
ledger records go first, because writing those twice is harmless. Watermarks of the sinks travel with commits: after a
crash the drain sends a little again, which is harmless too. What damage made unreadable is named, and becomes a gap.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store import codec
from pumpwatch.store.census import Census
from pumpwatch.store.damage import Damage
from pumpwatch.store.lastids import LastId, LastIds, Name
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.reader import FOLDER, SUFFIX, JournalReader, SegmentReader, by_time
from pumpwatch.store.recovery import Recovery, load_segments, lock_folder, stored_last_ids
from pumpwatch.store.segment import Row, Segment, Writer, sync_folder, unlink
from pumpwatch.store.sqlite import DAMAGED, storage_error
from pumpwatch.store.watermarks import Watermarks

__all__ = ["Journal", "JournalReader", "LastId", "Recovery"]

log = logging.getLogger(__name__)

CHUNK_ROWS = 2000  # a blob holds about so many rows, so that a query opens little
LAST_IDS_S = 60.0  # the last ids are stored this often
IDLE_S = 5.0  # a watermark that no commit takes along is stored after this
WAL_BYTES, WAL_LIMIT_BYTES = 4 << 20, 24 << 20  # `maintain` checkpoints above the first, `commit` above the second
ROLL_RETRY_S = 10.0


class Journal:
    """The store of one data folder. All methods block and belong to one thread, except where said."""

    def __init__(self, folder: Path, catalogue: Catalogue, clock: Clock, stats: Stats, *,
                 segment_seconds: int = 3600, segment_bytes: int = 1 << 30) -> None:
        self._folder, self._catalogue, self._clock, self._stats = folder, catalogue, clock, stats
        self._segment_seconds, self._segment_bytes = segment_seconds, segment_bytes
        self._run = f"{os.getpid()}-{time.time_ns()}"
        self._encoder = codec.Encoder()
        self._segments: list[Segment] = []  # oldest first, the written one last
        self._writer: Writer | None = None
        self._readers: dict[Path, SegmentReader] = {}
        self._lock_handle = -1
        self._ledger: Ledger | None = None
        self._damage: Damage | None = None
        self._last_id = 0
        self.watermarks = Watermarks(lambda: self._segments)
        self.acknowledge, self.acknowledged = self.watermarks.acknowledge, self.watermarks.acknowledged
        self.backlog = self.watermarks.backlog
        self._last_ids = LastIds()
        self._last_ids_stored_s = self._committed_s = self._roll_failed_s = float("-inf")

    @property
    def ledger(self) -> Ledger:
        """The ledger's connection of this thread."""
        if self._ledger is None:
            raise StorageError(f"{self._folder}: the journal is not open")
        return self._ledger

    def _found(self) -> Damage:
        if self._damage is None:
            raise StorageError(f"{self._folder}: the journal is not open")
        return self._damage

    @property
    def unreadable(self) -> list[str]:
        """What damage was found, one line each; any thread."""
        return list(self._damage.notes) if self._damage else []

    def open(self) -> Recovery:
        """Lock the folder, mend what a crash left, and say what is there.

        Raises StorageError when another process holds the folder, when a newer version wrote it, or when it cannot
        be written at all. Damaged files are named in `unreadable` and cost only what is damaged.
        """
        try:
            (self._folder / FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock_handle = lock_folder(self._folder)
        except OSError as error:
            raise storage_error(self._folder, "open", error) from error
        try:
            self._ledger = Ledger(self._folder)
            self._damage = Damage(self._stats, self._ledger)
            found = load_segments(self._folder, self._damage)
            self._segments, self._last_id = found.segments, found.last_id
            self.watermarks.load(found.acknowledged)
            start, carried = stored_last_ids(self._segments, self._damage)
            self._last_ids = LastIds(carried)
            for _, batch in self._after(start):
                self._last_ids.note(codec.grouped(batch))
        except BaseException:
            self._release()
            raise
        received = max((one.last_received for one in self._segments), default=0)
        return Recovery(self._last_id, received, self._last_ids.by_name(self._catalogue), self.unreadable, found.clean)

    def _release(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        if self._lock_handle >= 0:
            os.close(self._lock_handle)
            self._lock_handle = -1

    def commit(self, batches: Sequence[TradeBatch], records: Records | None = None) -> int:
        """Store the batches and records durably; return the id of the last batch stored.

        Raises StorageError with none of these trades stored: keep them and try again, in the same order.
        """
        if records:
            self.ledger.write(records)
        batch = codec.grouped(TradeBatch.concat(batches))
        if not len(batch):
            return self._last_id
        rows = [self._row(number, part) for number, part
                in enumerate(codec.split(batch, CHUNK_ROWS), self._last_id + 1)]
        self._write(rows, batch.instrument[codec.run_starts(batch.instrument)].tolist())
        self._last_id = rows[-1][0]
        self._last_ids.note(batch)
        self._stats.add("journal_trades_total", len(batch))
        self._stats.add("journal_commits_total")
        return self._last_id

    def _row(self, number: int, batch: TradeBatch) -> Row:
        head, body = self._encoder.encode_parts(batch)
        return (number, int(batch.timestamp.min()), int(batch.timestamp.max()), int(batch.received_at.min()),
                int(batch.received_at.max()), len(batch), head, body)

    def _write(self, rows: Sequence[Row], held: Sequence[int]) -> None:
        path = self._folder
        now_s = self._clock.monotonic()
        try:
            writer = self._ready_writer(may_roll=bool(rows))
            path = writer.segment.path
            due = now_s - self._last_ids_stored_s >= LAST_IDS_S
            acknowledged = self.watermarks.unstored()
            writer.commit(rows, held, self._catalogue, acknowledged,
                          (self._last_id, self._last_ids.pack(self._catalogue)) if due else None)
        except (sqlite3.Error, OSError) as error:
            self._stats.add("journal_failed_commits_total")
            self._drop_writer_after(error)
            raise storage_error(path, "commit", error) from error
        self._committed_s = now_s
        if due:
            self._last_ids_stored_s = now_s
        self.watermarks.note_stored(acknowledged)
        if writer.unchecked_bytes > WAL_LIMIT_BYTES:
            self._checkpoint(writer)

    def _drop_writer_after(self, error: Exception) -> None:
        """A full disk leaves the segment good; after any other error the next commit starts a new one."""
        if self._writer is None or "full" in str(error):
            return
        writer, self._writer = self._writer, None
        log.error("journal segment given up file=%s error=%s", writer.segment.path.name, error)
        try:
            writer.abandon()
        except sqlite3.Error as closing:
            log.warning("journal segment close file=%s error=%s", writer.segment.path.name, closing)

    def _ready_writer(self, may_roll: bool) -> Writer:
        """Return the open segment's writer; roll over when its time or size is up."""
        writer = self._writer
        now_ns = self._clock.now_ns()
        if writer is not None:
            due = (now_ns // NS_PER_S // self._segment_seconds
                   != writer.segment.created_ns // NS_PER_S // self._segment_seconds)
            if not may_roll or (not due and writer.written_bytes < self._segment_bytes):
                return writer
            if self._clock.monotonic() - self._roll_failed_s < ROLL_RETRY_S:
                return writer
        try:
            following = Writer(self._new_path(now_ns), self._last_id + 1, self._run, now_ns)
        except StorageError:
            if writer is None:
                raise
            self._roll_failed_s = self._clock.monotonic()
            return writer  # an old segment with room is better than none
        self._writer = following
        self._segments.append(following.segment)
        self._last_ids_stored_s = float("-inf")
        self.watermarks.begin_segment()
        if writer is not None:
            self._close_writer(writer)
        return following

    def _close_writer(self, writer: Writer) -> None:
        reader = self._readers.pop(writer.segment.path, None)
        if reader is not None:
            reader.close()
        try:
            writer.close()
        except sqlite3.Error as error:  # its trades are durable; the next start finishes it
            log.warning("journal segment left open file=%s error=%s", writer.segment.path.name, error)

    def _new_path(self, now_ns: int) -> Path:
        hour = time.strftime("%Y%m%dT%H", time.gmtime(now_ns // NS_PER_S))
        number = 0
        while (path := self._folder / FOLDER / f"{hour}-{number:03d}{SUFFIX}").exists():
            number += 1
        return path

    def maintain(self) -> None:
        """Do what may wait. Call it after a commit, when nothing else waits, and now and then when idle.

        Raises StorageError as `commit` does."""
        writer = self._writer
        if writer is not None and writer.unchecked_bytes > WAL_BYTES:
            self._checkpoint(writer)
        if self.watermarks.unstored() and self._clock.monotonic() - self._committed_s > IDLE_S:
            self._write((), ())

    def _checkpoint(self, writer: Writer) -> None:
        try:
            writer.checkpoint()
        except sqlite3.Error as error:  # the log holds the trades; it only grows
            self._stats.add("journal_failed_checkpoints_total")
            log.debug("journal checkpoint file=%s error=%s", writer.segment.path.name, error)

    def whole_from_ns(self) -> int:
        """Return from when on everything received is here; any thread. Far in the future where a part is unreadable."""
        if self.unreadable:
            return 2**63 - 1
        return min((segment.created_ns for segment in list(self._segments)), default=2**63 - 1)

    def census(self) -> Census:
        """Return a way to count what is here, for another thread."""
        return Census(lambda: self._segments)

    def size_bytes(self) -> int:
        """Return what the journal takes on disk; any thread."""
        return sum(segment.size_bytes() for segment in list(self._segments))

    def read_after(self, batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        """Return the batches after an id in order, at least one if there is any, and about `max_rows` trades.

        Batches that cannot be read are left out, named, and recorded as gaps.
        """
        found: list[tuple[int, TradeBatch]] = []
        rows = 0
        for number, batch in self._after(batch_id):
            found.append((number, batch))
            rows += len(batch)
            if rows >= max_rows:
                break
        return found

    def _after(self, batch_id: int) -> Iterator[tuple[int, TradeBatch]]:
        for segment in list(self._segments):
            if segment.last_id <= batch_id or not segment.readable:
                continue
            reader = self._reader(segment)
            if reader is not None:
                yield from reader.after(max(batch_id, segment.first_id - 1), segment.last_id)

    def query(self, names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch:
        """Return these instruments' trades in [start_ns, end_ns), by timestamp."""
        found: list[TradeBatch] = []
        for segment in list(self._segments):
            if segment.last_timestamp < start_ns or segment.first_timestamp >= end_ns or not segment.readable:
                continue
            reader = self._reader(segment)
            if reader is not None:
                try:
                    found.append(reader.find(names, start_ns, end_ns, segment.last_id))
                except DAMAGED as error:
                    self._found().file(segment.path, error)
        return by_time(found)

    def _reader(self, segment: Segment) -> SegmentReader | None:
        reader = self._readers.pop(segment.path, None)
        if reader is None:
            try:
                reader = SegmentReader(segment.path, self._catalogue, self._found().batch,
                                       own_run=segment.run == self._run)
            except sqlite3.Error as error:
                self._found().file(segment.path, error)
                return None
        self._readers[segment.path] = reader
        while len(self._readers) > 4:
            self._readers.pop(next(iter(self._readers))).close()
        return reader

    def expire(self, now_ns: int, retention_s: float, max_bytes: int, sinks: Sequence[str]) -> list[Path]:
        """Unlink whole segments, oldest first: those too old, and as many as make the rest fit into max_bytes.

        Never one that a configured sink may still need, and never the newest, which knows the ids and watermarks.
        """
        newest = next((one for one in reversed(self._segments) if one.readable), None)
        oldest_ns = now_ns - int(retention_s * NS_PER_S)
        size = self.size_bytes()
        removed = []
        for segment in sorted(self._segments, key=lambda one: one.last_received or one.created_ns):
            if segment is newest:
                continue
            old = (segment.last_received or segment.created_ns) < oldest_ns
            if not old and (size <= max_bytes or not segment.readable):
                continue
            if segment.readable and any(self.watermarks.safe(sink) < segment.last_id for sink in sinks):
                continue
            size -= segment.size_bytes()
            self._remove(segment)
            removed.append(segment.path)
        return removed

    def _remove(self, segment: Segment) -> None:
        reader = self._readers.pop(segment.path, None)
        if reader is not None:
            reader.close()
        try:
            unlink(segment.path)
            sync_folder(segment.path.parent)
        except OSError as error:
            raise storage_error(segment.path, "remove", error) from error
        self._segments.remove(segment)

    def close(self) -> None:
        """Store the watermarks, mark the clean end, and let go of the folder. Raises StorageError after letting go."""
        try:
            if self._writer is not None or self.watermarks.unstored():
                self._last_ids_stored_s = float("-inf")
                self._write((), ())
            if self._writer is not None:
                self._close_writer(self._writer)
        finally:
            self._writer = None
            self._release()
