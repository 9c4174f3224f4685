"""The journal makes trades durable and is the embedded store.

Its hourly segments are in the folder `journal/`, beside the ledger. A commit is one SQLite transaction with `synchronous=FULL`:
once it returns, its trades survive a power cut; if it raises, none of them are stored and the caller keeps them. The ledger is
not part of the transaction: `record` writes records before the trades that they belong to (committer.py), and trades are stored
even if the ledger does not take the records. Commits also store the sinks' watermarks: after a crash the drain sends some
trades twice, which is harmless, and records rejected rows again. Unreadable data is logged and becomes a gap.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError
from pumpwatch.model import Flag, TradeBatch
from pumpwatch.records import PassedId, Records
from pumpwatch.stats import Stats
from pumpwatch.store import codec
from pumpwatch.store.census import Census
from pumpwatch.store.damage import Damage
from pumpwatch.store.expiry import NewestTrades, Removed, ended_ns
from pumpwatch.store.folder_lock import lock_folder
from pumpwatch.store.inventory import Inventory
from pumpwatch.store.last_ids import LastId, LastIds, Name
from pumpwatch.store.lasting import LastingLedger
from pumpwatch.store.names import load_names
from pumpwatch.store.reader import FOLDER, SUFFIX, JournalReader
from pumpwatch.store.recovery import Recovery, count_late, last_moment_ns, load_segments, recover_last_ids
from pumpwatch.store.segment import Row, Segment, Writer
from pumpwatch.store.side_reader import SideReader
from pumpwatch.store.sqlite import private_folder, storage_error
from pumpwatch.store.upkeep import QUARANTINE_BYTES
from pumpwatch.store.watermarks import Watermarks

__all__ = ["Journal", "JournalReader", "LastId", "Recovery"]

log = logging.getLogger(__name__)

CHUNK_ROWS = 2000  # about the rows of a stored batch; few, so that a query decodes little
LAST_IDS_S = 60.0  # the last ids are stored this often, except while a locked segment may hold newer ones
IDLE_S = 5.0  # a watermark is stored without trades if no commit came for this long
WAL_BYTES, WAL_LIMIT_BYTES = 4 << 20, 24 << 20  # `maintain` checkpoints above the first, `commit` above the second
ROLL_S, ROLL_RETRY_S = 60.0, 10.0  # a clock that jumps back and forth makes at most one file a minute


class Journal:
    """The store of one data folder. Its methods block and belong to one thread, unless their docstring says "any thread"."""

    def __init__(self, folder: Path, catalogue: Catalogue, clock: Clock, stats: Stats, *,
                 segment_seconds: int = 3600, segment_bytes: int = 1 << 30,
                 quarantine_bytes: int = QUARANTINE_BYTES) -> None:
        self._folder, self._catalogue, self._clock, self._stats = folder, catalogue, clock, stats
        self._segment_seconds, self._segment_bytes = segment_seconds, segment_bytes
        self._run = f"{os.getpid()}-{time.time_ns()}"
        self._encoder = codec.BatchEncoder()
        self._segments: list[Segment] = []  # oldest first, the open one last
        self._writer: Writer | None = None
        self._files: Inventory | None = None
        self._lock_handle = -1
        self._ledger: LastingLedger | None = None
        self._quarantine_bytes = quarantine_bytes
        self._damage: Damage | None = None
        self._last_id = 0
        self.watermarks = Watermarks(lambda: self._segments)
        self.acknowledge, self.acknowledged = self.watermarks.acknowledge, self.watermarks.acknowledged
        self.backlog = self.watermarks.backlog
        self.trades_after, self.trades_between = self.watermarks.trades_after, self.watermarks.trades_between
        self._last_ids = LastIds(catalogue)
        self._newest_trades = NewestTrades()
        self._passed: dict[int, tuple[int, int]] = {}  # instrument -> id and time of a row without a trade
        self._voids: list[PassedId] = []  # all such ids, to be stored with the next trades
        self._last_ids_stored_s = self._committed_s = self._rolled_s = self._roll_failed_s = float("-inf")

    @property
    def ledger(self) -> LastingLedger:
        """The ledger. Any native thread may use it; it may block for seconds while another process locks the file."""
        if self._ledger is None:
            raise StorageError(f"{self._folder}: the journal is not open")
        return self._ledger

    @property
    def unreadable(self) -> list[str]:
        """The damage that was found, one line for each; any thread."""
        return list(self._damage.notes) if self._damage else []

    def open(self) -> Recovery:
        """Lock the folder, recover from a crash, and return the state of the last run.

        Raises StorageError if another process has locked the folder, a newer version wrote it, or it is not writable. Damaged
        files are listed in `unreadable`; only their damaged parts are lost.
        """
        try:
            private_folder(self._folder / FOLDER)
            self._lock_handle = lock_folder(self._folder)
        except OSError as error:
            raise storage_error(self._folder, "open", error) from error
        try:
            self._ledger = LastingLedger(self._folder, self._clock, self._stats, quarantine_bytes=self._quarantine_bytes)
            self._damage = Damage(self._stats, self._ledger.defer, self._ledger.keep_deferred)
            found = load_segments(self._folder, self._damage, self._clock.now_ns())
            self._segments, self._last_id = found.segments, found.last_id
            self.watermarks.load(found.acknowledged)
            files = self._files = Inventory(self._segments, found.manifest, self._damage, self._catalogue, self._clock, self._run)
            load_names(self._segments, self._catalogue, self._damage.log_damage)
            self._last_ids = recover_last_ids(files, self._catalogue)
            files.record_damage()
            files.write_list()
        except BaseException:
            self._release()
            raise
        return Recovery(self._last_id, last_moment_ns(self._segments, self._clock.now_ns()), self._last_ids.by_name(),
                        self.unreadable, found.clean)

    def _release(self, rest: Records | None = None) -> None:
        try:
            if self._files is not None:
                self._files.readers.close()
                self._files = None
            if self._ledger is not None:
                self._ledger.close(rest)
                self._ledger = None
        finally:
            if self._lock_handle >= 0:
                close_now(self._lock_handle)
                self._lock_handle = -1

    @property
    def files(self) -> Inventory:
        """The journal's files; for the journal's thread only."""
        if self._files is None:
            raise StorageError(f"{self._folder}: the journal is not open")
        return self._files

    def record(self, records: Records) -> None:
        """Store records durably in the ledger; any native thread. Raises StorageError if the ledger does not take them."""
        self.ledger.write(records)

    def keep(self, rest: Records) -> bool:
        """Keep on disk the records that the ledger has not taken, see `LastingLedger.keep`; any native thread."""
        return self.ledger.keep(rest)

    def commit(self, batch: TradeBatch) -> int:
        """Store a batch durably, in parts of about CHUNK_ROWS; return the id of the last part.

        Raises StorageError with none of its trades stored: keep the batch and retry it before any newer batch.
        """
        batch = codec.grouped(batch)
        if not len(batch):
            return self._last_id
        rows = [self._row(number, part) for number, part
                in enumerate(codec.split(batch, CHUNK_ROWS), self._last_id + 1)]
        backfilled = bool((batch.flags & Flag.BACKFILLED).any())  # their times are unrelated to the current time
        starts = codec.run_starts(batch.instrument)
        self._write(rows, batch.instrument[starts].tolist(), backfilled=backfilled)
        self._last_id = rows[-1][0]
        self._last_ids.record(batch, starts)
        self._stats.add("journal_trades_total", len(batch))
        self._stats.add("journal_commits_total")
        return self._last_id

    def _row(self, number: int, batch: TradeBatch) -> Row:
        head, body = self._encoder.encode_parts(batch)
        return (number, int(batch.timestamp.min()), int(batch.timestamp.max()), int(batch.received_at.min()),
                int(batch.received_at.max()), len(batch), head, body)

    def _write(self, rows: Sequence[Row], held: Sequence[int], *, backfilled: bool = False) -> None:
        path = self._folder
        now_s = self._clock.monotonic()
        try:
            writer = self._ready_writer(may_roll=bool(rows))
            path = writer.segment.path
            due = now_s - self._last_ids_stored_s >= LAST_IDS_S
            whole = due and count_late(self.files, self._last_ids, self._catalogue)
            acknowledged = self.watermarks.unstored()
            passed = [(number, *last) for number, last in self._passed.items()]
            for number, last in self._passed.items():
                self._last_ids.pass_over(number, last)
            writer.commit(rows, held, self._catalogue, acknowledged,
                          (self._last_id, self._last_ids.pack()) if whole else None, passed, self._voids if rows else ())
        except (sqlite3.Error, OSError) as error:
            self._stats.add("journal_failed_commits_total")
            self._drop_writer_after(error)
            raise storage_error(path, "commit", error) from error
        self._committed_s = now_s
        if due:
            self._last_ids_stored_s = now_s
        self.watermarks.mark_stored(acknowledged)
        self._passed.clear()
        if rows:
            self._voids.clear()
        for row in () if backfilled else rows:
            self._newest_trades.record(now_s, row[1])
        if writer.unchecked_bytes > WAL_LIMIT_BYTES:
            self._checkpoint(writer)

    def _drop_writer_after(self, error: Exception) -> None:
        """Begin a new segment with the next commit, unless the disk was full, which leaves the segment intact."""
        if self._writer is not None and "full" not in str(error):
            self._give_up(self._writer, error)

    def _give_up_lost(self) -> None:
        """Stop writing to an unreadable or removed file, so that only its earlier trades become a gap."""
        writer = self._writer
        if writer is None:
            return
        if not writer.in_place():
            self.files.found_damage(writer.segment.path, {}, False, "the file was removed or replaced while it was written")
        if not writer.segment.readable:
            self._give_up(writer, "it cannot be read")

    def _give_up(self, writer: Writer, error: object) -> None:
        self._writer = None
        self.files.readers.close_one(writer.segment.path)
        log.error("journal segment given up, the next commit begins a new one file=%s reason=%s", writer.segment.path.name, error)
        try:
            writer.abandon()
        except sqlite3.Error as closing:
            log.warning("journal segment not closed file=%s reason=%s", writer.segment.path.name, closing)

    def _ready_writer(self, may_roll: bool) -> Writer:
        """Return the open segment's writer; begin a new segment if the open one is too old or too large, or its file is lost."""
        self._give_up_lost()
        writer = self._writer
        now_ns = self._clock.now_ns()
        if writer is not None:
            due = (now_ns // NS_PER_S // self._segment_seconds
                   != writer.segment.created_ns // NS_PER_S // self._segment_seconds
                   and self._clock.monotonic() - self._rolled_s >= ROLL_S)
            if not may_roll or (not due and writer.written_bytes < self._segment_bytes):
                return writer
            if self._clock.monotonic() - self._roll_failed_s < ROLL_RETRY_S:
                return writer
        ordinal = max((segment.ordinal for segment in self._segments), default=0) + 1
        try:
            following = Writer(self._new_path(now_ns), self._last_id + 1, self._run, now_ns, ordinal)
        except StorageError:
            if writer is None:
                raise
            self._roll_failed_s = self._clock.monotonic()
            return writer  # better an overdue segment than no segment
        self._writer = following
        self.files.add(following.segment)
        self._rolled_s = self._clock.monotonic()
        self._last_ids_stored_s = float("-inf")
        self.watermarks.begin_segment()
        if writer is not None:
            self._close_writer(writer)
        self.files.write_list()
        return following

    def _close_writer(self, writer: Writer) -> None:
        self.files.readers.close_one(writer.segment.path)
        try:
            writer.close()
        except sqlite3.Error as error:  # its trades are durable
            log.warning("journal segment left open, the next start closes it file=%s reason=%s", writer.segment.path.name, error)

    def _new_path(self, now_ns: int) -> Path:
        hour = time.strftime("%Y%m%dT%H", time.gmtime(now_ns // NS_PER_S))
        number = 0
        known = {segment.path.name for segment in self._segments} | {gone.name for gone in self.files.manifest.vanished}
        while (path := self._folder / FOLDER / f"{hour}-{number:03d}{SUFFIX}").exists() or path.name in known:
            number += 1
        return path

    def maintain(self) -> None:
        """Do deferred work; call this every few seconds, between commits. Raises StorageError like `commit`."""
        writer = self._writer
        if writer is not None and writer.unchecked_bytes > WAL_BYTES:
            self._checkpoint(writer)
        if (self.watermarks.unstored() or self._passed) and self._clock.monotonic() - self._committed_s > IDLE_S:
            self._write((), ())
        self.files.maintain()

    def pass_over(self, passed: Iterable[PassedId]) -> None:
        """Count ids of rows without a trade as seen. The next commit stores them, so that the next run does not miss them."""
        for number, used_id, at_ns in passed:
            self._voids.append((number, used_id, at_ns))
            known = self._passed.get(number)
            if known is None or used_id > known[0]:
                self._passed[number] = used_id, at_ns

    def _checkpoint(self, writer: Writer) -> None:
        try:
            writer.checkpoint()
        except sqlite3.Error as error:  # the trades are safe in the write-ahead log, which grows
            self._stats.add("journal_failed_checkpoints_total")
            log.debug("journal checkpoint failed file=%s reason=%s", writer.segment.path.name, error)

    def whole_from_ns(self) -> int:
        """Return since when every received trade is here, in ns; 2**63 - 1 if a part is unreadable; any thread."""
        if self.unreadable:
            return 2**63 - 1
        return min((segment.created_ns for segment in list(self._segments)), default=2**63 - 1)

    def segments_between(self, start_ns: int, end_ns: int) -> int:
        """Return the number of segments that may hold trades of [start_ns, end_ns); any thread."""
        return sum(segment.last_timestamp >= start_ns and segment.first_timestamp < end_ns for segment in list(self._segments))

    def census(self) -> Census:
        """Return the journal's counts by time, for another thread."""
        return Census(lambda: self._segments)

    def size_bytes(self, since_ns: int = 0) -> int:
        """Return the size on disk of the journal, or of the segments that ended since `since_ns`; any thread."""
        return sum(segment.size_bytes() for segment in list(self._segments) if not since_ns or ended_ns(segment) >= since_ns)

    def closed_segments(self) -> list[Segment]:
        """Return the readable segments that are closed, oldest first; any thread."""
        return [segment for segment in self.readable_segments() if segment.state]

    def readable_segments(self) -> list[Segment]:
        """Return the readable segments, oldest first, the open one last; any thread."""
        return [segment for segment in list(self._segments) if segment.readable]

    def found_damage(self, path: Path, batches: Mapping[int, str], index_damaged: bool, whole: str) -> None:
        """Record the damage that a check of a closed segment found; new damage becomes a gap."""
        self.files.found_damage(path, batches, index_damaged, whole)

    def newest_trades_ns(self) -> int:
        """Return the time according to the newest trades of this run, 0 before the first."""
        return self._newest_trades.ns()

    def read_after(self, batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        """Return the batches after an id in order: at least one if any exists, and about `max_rows` trades.

        Damaged batches are left out and recorded as gaps. Raises StorageError if the next segment is locked.
        """
        return self.files.read_after(batch_id, max_rows)

    def side_reader(self) -> SideReader:
        """Return a reader for another thread, whose queries do not delay commits; any thread."""
        return SideReader(lambda: list(self._segments), self._run, self._catalogue)

    def query(self, names: Sequence[Name], start_ns: int, end_ns: int) -> TradeBatch:
        """Return these instruments' trades in [start_ns, end_ns), by timestamp. Raises StorageError if a segment is locked."""
        return self.files.query(names, start_ns, end_ns)

    def expire(self, before_ns: int, max_bytes: int, sinks: Sequence[str], span_s: float = float("inf"),
               counted: int | None = None) -> list[Removed]:
        """Unlink whole segments, oldest first: those that ended before `before_ns`, and more until the rest fits max_bytes.

        By age it removes at most as much as was written in `span_s`, and nothing after batch `counted`. It keeps the segments
        that a sink may still need, and the newest one, which has the ids and watermarks. A segment that is removed early and
        is in no sink becomes a gap.
        """
        return self.files.expire(before_ns, max_bytes, min(map(self.watermarks.complete, sinks), default=None), span_s, counted)

    def close(self, rest: Records | None = None) -> None:
        """Store the watermarks, mark the clean end, and unlock the folder. A StorageError is raised only after the unlocking.

        rest: the records that the ledger has not taken; they are written, or kept on disk for the next start.
        """
        try:
            if self._writer is not None or self.watermarks.unstored() or self._passed:
                self._last_ids_stored_s = float("-inf")
                self._write((), ())
            if self._writer is not None:
                self._close_writer(self._writer)
            if self._files is not None:
                self._files.record_damage()
                self._files.write_list()
        finally:
            self._writer = None
            self._release(rest)

    def leave(self, rest: Records) -> None:
        """Keep records on disk for the next start if `close` hangs; any native thread. Raises StorageError."""
        if self._ledger is not None:
            self._ledger.leave(rest)
