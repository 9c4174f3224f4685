"""The journal: where a trade becomes durable, and the embedded store.

Segments of an hour in `journal/`, the ledger beside them. A commit is one SQLite transaction with `synchronous=FULL`:
when it returns its trades survive the power cut, when it raises none of them are stored and the caller keeps them. Its
ledger records go first, because writing those twice is harmless. Watermarks of the sinks travel with commits: after a
crash the drain sends a little again, which is harmless too. What damage made unreadable is named, and becomes a gap.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState, TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store import codec
from pumpwatch.store.ledger import Ledger, Records
from pumpwatch.store.reader import FOLDER, SUFFIX, JournalReader, Name, SegmentReader, by_time, in_order
from pumpwatch.store.segment import (
    CLEAN,
    Row,
    Segment,
    Writer,
    read_segment,
    recover_segment,
    sync_folder,
    unlink,
)
from pumpwatch.store.sqlite import connect, storage_error

__all__ = ["Journal", "JournalReader", "LastId", "Recovery"]

log = logging.getLogger(__name__)

LastId = tuple[int, int]  # trade id, timestamp
CHUNK_ROWS = 2000  # a blob holds about so many rows, so that a query opens little
CHECKPOINT_S = 60.0  # the last ids are stored this often
WAL_BYTES, WAL_LIMIT_BYTES = 4 << 20, 24 << 20  # `maintain` checkpoints above the first, `commit` above the second
_LAST_IDS = msgspec.msgpack.Decoder(list[tuple[str, str, str, int, int]])


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the last run left."""

    last_batch_id: int
    last_received_at_ns: int  # 0: nothing is stored
    last_ids: dict[Name, LastId]
    unreadable: list[str]
    clean: bool  # the last run closed the journal


@dataclass(slots=True)
class _Chunk:
    batch: TradeBatch
    head: bytes = b""
    body: bytes = b""
    ids: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))


class Journal:
    """The store of one data folder. All methods block and belong to one thread, except where said."""

    def __init__(self, folder: Path, catalogue: Catalogue, clock: Clock, stats: Stats, *,
                 segment_seconds: int = 3600, segment_bytes: int = 1 << 30) -> None:
        self.unreadable: list[str] = []
        self._folder, self._catalogue, self._clock, self._stats = folder, catalogue, clock, stats
        self._segment_seconds, self._segment_bytes = segment_seconds, segment_bytes
        self._encoder = codec.Encoder()
        self._segments: list[Segment] = []  # oldest first, the written one last
        self._writer: Writer | None = None
        self._readers: dict[Path, SegmentReader] = {}
        self._lock_file = -1
        self._ledger: Ledger | None = None
        self._next_id = 1
        self._acknowledged: dict[str, int] = {}
        self._stored_acknowledged: dict[str, int] = {}
        self._carried: dict[Name, LastId] = {}  # of instruments that this run has not seen
        self._last_ids = np.full((2, 0), -(2**63), np.int64)
        self._ids_stored_at = -CHECKPOINT_S
        self._run = f"{os.getpid()}-{time.time_ns()}"
        self._damaged: dict[Path, set[int]] = {}
        self._roll_failed_at = -1.0

    @property
    def ledger(self) -> Ledger:
        """The ledger's connection of this thread."""
        if self._ledger is None:
            raise StorageError(f"{self._folder}: the journal is not open")
        return self._ledger

    def open(self) -> Recovery:
        """Lock the folder, mend what a crash left, and say what is there.

        Raises StorageError when another process holds the folder, when a newer version wrote it, or when it cannot
        be written at all. Damaged files are named in `unreadable` and cost only what is damaged.
        """
        try:
            (self._folder / FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock()
        except OSError as error:
            raise storage_error(self._folder, "open", error) from error
        try:
            self._ledger = Ledger(self._folder)
            clean = self._load()
            self._carried = self._recover_last_ids()
        except BaseException:
            self._release()
            raise
        received = max((one.last_received for one in self._segments), default=0)
        for note in self.unreadable:
            log.warning("journal unreadable %s", note)
        return Recovery(self._next_id - 1, received, dict(self._carried), list(self.unreadable), clean)

    def _lock(self) -> None:
        path = self._folder / "lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise StorageError(f"{self._folder}: another process (pid {holder}) collects into this folder",
                               "stop that one, or give this one its own store.dir") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._lock_file = handle

    def _release(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _load(self) -> bool:
        """Read every segment's summary; return whether the newest was closed by its own run."""
        broken = 0
        segments = []
        for path in sorted((self._folder / FOLDER).glob(f"*{SUFFIX}")):
            try:
                segment = read_segment(path)
                if not segment.state:
                    segment, note = recover_segment(path)
                    if note:
                        self.unreadable.append(note)
            except (sqlite3.Error, OSError, KeyError, ValueError, TypeError) as error:
                broken += 1
                self.unreadable.append(f"{path.name}: {error}")
                segment = _unreadable_segment(path)
            segments.append(segment)
        readable = in_order([one for one in segments if one.readable])
        self._segments = [one for one in segments if not one.readable] + readable
        for segment in readable:
            for sink, number in self._stored_watermarks(segment.path):
                self._acknowledged[sink] = max(number, self._acknowledged.get(sink, 0))
        self._stored_acknowledged = dict(self._acknowledged)
        last = max([one.last_id for one in readable] + list(self._acknowledged.values()), default=0)
        self._next_id = last + 1 + (1_000_000 if broken else 0)  # an unreadable file may hold the next ones
        return not readable or readable[-1].state == CLEAN

    def _stored_watermarks(self, path: Path) -> list[tuple[str, int]]:
        try:
            connection = connect(path, read_only=True)
            try:
                return connection.execute("SELECT sink, batch_id FROM acknowledged").fetchall()
            finally:
                connection.close()
        except sqlite3.DatabaseError as error:
            self.unreadable.append(f"{path.name}: watermarks: {error}")
            return []

    def _recover_last_ids(self) -> dict[Name, LastId]:
        """Return the newest stored last ids, moved on by every batch that came after."""
        known: dict[Name, LastId] = {}
        start = 0
        for segment in reversed(self._segments):
            stored = self._stored_last_ids(segment) if segment.readable else None
            if stored is not None:
                start, known = stored
                break
        for _, batch in self._after(start):
            starts = codec.run_starts(batch.instrument)
            for name, trade_id, timestamp in zip(self._catalogue.names(batch.instrument[starts].tolist()),
                                                 np.maximum.reduceat(batch.trade_id, starts).tolist(),
                                                 np.maximum.reduceat(batch.timestamp, starts).tolist(), strict=True):
                before = known.get(name, (trade_id, timestamp))
                known[name] = max(before[0], trade_id), max(before[1], timestamp)
        return known

    def _stored_last_ids(self, segment: Segment) -> tuple[int, dict[Name, LastId]] | None:
        try:
            connection = connect(segment.path, read_only=True)
            try:
                row = connection.execute("SELECT batch_id, ids FROM last_ids").fetchone()
            finally:
                connection.close()
            if row is None or row[0] > segment.last_id:
                return None
            raw = zstandard.ZstdDecompressor().decompress(row[1])
            return row[0], {(a, b, c): (number, at) for a, b, c, number, at in _LAST_IDS.decode(raw)}
        except (sqlite3.DatabaseError, zstandard.ZstdError, msgspec.DecodeError, TypeError) as error:
            self.unreadable.append(f"{segment.path.name}: last ids: {error}")
            return None

    def commit(self, batches: Sequence[TradeBatch], records: Records | None = None) -> int:
        """Store the batches and records durably; return the id of the last batch stored.

        Raises StorageError with none of these trades stored: keep them and try again, in the same order.
        """
        if records:
            self.ledger.write(records)
        batch = codec.grouped(TradeBatch.concat(batches))
        if not len(batch):
            return self._next_id - 1
        chunks = [_Chunk(part) for part in _chunks(batch)]
        rows = [self._row(self._next_id + number, chunk) for number, chunk in enumerate(chunks)]
        ids = np.concatenate([chunk.ids for chunk in chunks])
        top = int(ids[-1])
        if top >= self._last_ids.shape[1]:
            self._last_ids = np.pad(self._last_ids, ((0, 0), (0, top * 2 + 64 - self._last_ids.shape[1])),
                                    constant_values=-(2**63))
        lasts = np.concatenate([_lasts(chunk) for chunk in chunks], axis=1)
        self._write(rows, ids.tolist(), lasts, ids)
        self._next_id = rows[-1][0] + 1
        self._stats.add("journal_trades_total", len(batch))
        self._stats.add("journal_commits_total")
        return self._next_id - 1

    def _row(self, number: int, chunk: _Chunk) -> Row:
        batch = chunk.batch
        chunk.ids = batch.instrument[codec.run_starts(batch.instrument)]
        chunk.head, chunk.body = self._encoder.encode_parts(batch)
        return (number, int(batch.timestamp.min()), int(batch.timestamp.max()), int(batch.received_at.min()),
                int(batch.received_at.max()), len(batch), chunk.head, chunk.body)

    def _write(self, rows: Sequence[Row], held: Sequence[int], lasts: NDArray[np.int64],
               ids: NDArray[np.int32]) -> None:
        before = self._last_ids[:, ids]
        np.maximum.at(self._last_ids, (slice(None), ids), lasts)
        path = self._folder
        try:
            writer = self._ready_writer()
            path = writer.segment.path
            due = self._clock.monotonic() - self._ids_stored_at >= CHECKPOINT_S
            acknowledged = self._unstored_watermarks()
            writer.commit(rows, held, self._catalogue, acknowledged, self._packed_last_ids() if due else None)
        except (sqlite3.Error, OSError, StorageError) as error:
            self._last_ids[:, ids[::-1]] = before[:, ::-1]
            self._stats.add("journal_failed_commits_total")
            self._drop_writer_after(error)
            if isinstance(error, StorageError):
                raise
            raise storage_error(path, "commit", error) from error
        if due:
            self._ids_stored_at = self._clock.monotonic()
        self._stored_acknowledged.update(acknowledged)
        if writer.unchecked_bytes > WAL_LIMIT_BYTES:
            self._checkpoint(writer)

    def _drop_writer_after(self, error: Exception) -> None:
        """A full disk leaves the segment good; after any other error the next commit starts a new one."""
        if self._writer is None or "full" in str(error) or isinstance(error, StorageError):
            return
        writer, self._writer = self._writer, None
        log.error("journal segment given up file=%s error=%s", writer.segment.path.name, error)
        try:
            writer.abandon()
        except sqlite3.Error as closing:
            log.warning("journal segment close file=%s error=%s", writer.segment.path.name, closing)

    def _ready_writer(self) -> Writer:
        """Return the open segment's writer; roll over when its time or size is up."""
        writer = self._writer
        now_ns = self._clock.now_ns()
        if writer is not None:
            due = (now_ns // NS_PER_S // self._segment_seconds
                   != writer.segment.created_ns // NS_PER_S // self._segment_seconds)
            if not due and writer.written_bytes < self._segment_bytes:
                return writer
            if self._clock.monotonic() - self._roll_failed_at < 10:
                return writer
        try:
            following = Writer(self._new_path(now_ns), self._next_id, self._run, now_ns)
        except StorageError:
            if writer is None:
                raise
            self._roll_failed_at = self._clock.monotonic()
            return writer  # an old segment with room is better than none
        self._writer = following
        self._segments.append(following.segment)
        self._ids_stored_at = -CHECKPOINT_S
        self._stored_acknowledged = {}
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

    def _packed_last_ids(self) -> bytes:
        ids = (self._last_ids[0] != -(2**63)).nonzero()[0]
        names = self._catalogue.names(ids.tolist())
        known = dict(self._carried)
        for name, trade_id, timestamp in zip(names, *self._last_ids[:, ids].tolist(), strict=True):
            carried = known.get(name)
            known[name] = (trade_id, timestamp) if carried is None else (max(trade_id, carried[0]),
                                                                         max(timestamp, carried[1]))
        raw = msgspec.msgpack.encode([(*name, *last) for name, last in known.items()])
        return zstandard.ZstdCompressor(level=1).compress(raw)

    def _unstored_watermarks(self) -> dict[str, int]:
        return {sink: number for sink, number in list(self._acknowledged.items())
                if number != self._stored_acknowledged.get(sink)}

    def maintain(self) -> None:
        """Do what may wait: move the write-ahead log into its file. Call it after a commit, when nothing else waits."""
        writer = self._writer
        if writer is None:
            return
        if writer.unchecked_bytes > WAL_BYTES:
            self._checkpoint(writer)

    def _checkpoint(self, writer: Writer) -> None:
        try:
            writer.checkpoint()
        except sqlite3.Error as error:  # the log holds the trades; it only grows
            self._stats.add("journal_failed_checkpoints_total")
            log.debug("journal checkpoint file=%s error=%s", writer.segment.path.name, error)

    def acknowledge(self, sink: str, batch_id: int) -> None:
        """Move a sink's watermark; any thread. Stored with the next commit, and by `close`."""
        if batch_id > self._acknowledged.get(sink, 0):
            self._acknowledged[sink] = batch_id

    def acknowledged(self, sink: str) -> int:
        """Return a sink's watermark, 0 for a new sink; any thread."""
        return self._acknowledged.get(sink, 0)

    def backlog(self, sink: str) -> int:
        """Return how many trades the sink has not acknowledged; any thread."""
        mark = self._acknowledged.get(sink, 0)
        waiting = 0
        for segment in list(self._segments):
            if segment.first_id > mark:
                waiting += segment.trades
            elif segment.last_id > mark:
                waiting += segment.trades - _trades_up_to(segment, mark)
        return waiting

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
                    found += reader.find(names, start_ns, end_ns, segment.last_id)
                except sqlite3.Error as error:
                    self._note(segment.path, error)
        return by_time(found)

    def _reader(self, segment: Segment) -> SegmentReader | None:
        reader = self._readers.pop(segment.path, None)
        if reader is None:
            try:
                reader = SegmentReader(segment.path, self._catalogue, self._damage, own_run=segment.run == self._run)
            except sqlite3.Error as error:
                self._note(segment.path, error)
                return None
        self._readers[segment.path] = reader
        while len(self._readers) > 4:
            self._readers.pop(next(iter(self._readers))).close()
        return reader

    def _note(self, path: Path, error: Exception) -> None:
        note = f"{path.name}: {error}"
        if note not in self.unreadable:
            self.unreadable.append(note)
            log.error("journal unreadable %s", note)

    def _damage(self, path: Path, batch_id: int, why: str) -> None:
        """Name a batch that cannot be read, once, and record the gap."""
        known = self._damaged.setdefault(path, set())
        if batch_id in known:
            return
        known.add(batch_id)
        self._stats.add("journal_unreadable_batches_total")
        self._note(path, StorageError(f"batch {batch_id}: {why}"))
        from_ns, to_ns, venues = _bounds(path, batch_id)
        gaps = [Gap(exchange=exchange, market_type=market_type, symbol="", from_ns=from_ns, to_ns=to_ns, first_id=None,
                    last_id=None, reason=f"journal damaged: {path.name} batch {batch_id}", state=GapState.OPEN)
                for exchange, market_type in venues or set(self._catalogue.venues)]
        try:
            self.ledger.write(Records(gaps=gaps))
        except StorageError as error:
            known.discard(batch_id)  # told again at the next reading
            log.error("journal gap not stored %s", error.message)

    def expire(self, now_ns: int, retention_s: float, max_bytes: int, sinks: Sequence[str]) -> list[Path]:
        """Unlink whole segments, oldest first: those too old, and as many as make the rest fit into max_bytes.

        Never one that a configured sink has not acknowledged, and never the open one.
        """
        open_path = self._writer.segment.path if self._writer else None
        oldest_ns = now_ns - int(retention_s * NS_PER_S)
        size = self.size_bytes()
        removed = []
        for segment in sorted(self._segments, key=lambda one: one.last_received or one.created_ns):
            if segment.path == open_path:
                continue
            old = (segment.last_received or segment.created_ns) < oldest_ns
            if not old and (size <= max_bytes or not segment.readable):
                continue
            if segment.readable and any(self.acknowledged(sink) < segment.last_id for sink in sinks):
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
            if self._writer is not None or self._unstored_watermarks():
                writer = self._ready_writer()
                writer.commit((), (), self._catalogue, self._unstored_watermarks(), self._packed_last_ids())
                self._close_writer(writer)
        except (sqlite3.Error, OSError) as error:
            raise storage_error(self._folder, "close", error) from error
        finally:
            self._writer = None
            self._release()


def _chunks(batch: TradeBatch) -> Iterator[TradeBatch]:
    """Cut a grouped batch into pieces of about CHUNK_ROWS, between instruments where that is near."""
    rows = len(batch)
    if rows <= CHUNK_ROWS * 3 // 2:
        yield batch
        return
    cuts = codec.run_starts(batch.instrument).tolist()
    first = 0
    while rows - first > CHUNK_ROWS * 3 // 2:
        cut = cuts[bisect_right(cuts, first + CHUNK_ROWS) - 1]
        if cut < first + CHUNK_ROWS // 2:
            cut = first + CHUNK_ROWS
        yield batch.take(slice(first, cut))
        first = cut
    yield batch.take(slice(first, rows))


def _lasts(chunk: _Chunk) -> NDArray[np.int64]:
    starts = codec.run_starts(chunk.batch.instrument)
    return np.stack((np.maximum.reduceat(chunk.batch.trade_id, starts),
                     np.maximum.reduceat(chunk.batch.timestamp, starts)))


def _trades_up_to(segment: Segment, batch_id: int) -> int:
    """Return the trades of a segment's batches up to an id; reads the file once, for segments of an earlier run."""
    if segment.counts is None:
        counts = array("I", bytes(4 * (segment.last_id - segment.first_id + 1)))
        try:
            connection = connect(segment.path, read_only=True)
            try:
                for number, trades in connection.execute("SELECT id, trades FROM batches INDEXED BY batches_time"):
                    if segment.first_id <= number <= segment.last_id:
                        counts[number - segment.first_id] = trades
            finally:
                connection.close()
        except sqlite3.Error:
            return 0
        segment.counts = counts
    return sum(segment.counts[: batch_id - segment.first_id + 1])


def _bounds(path: Path, batch_id: int) -> tuple[int, int, set[tuple[str, str]]]:
    """Return from when to when a lost batch may have been received, and the venues of its file."""
    found: list[object] = []
    try:
        connection = connect(path, read_only=True)
    except sqlite3.Error:
        return 0, time.time_ns(), set()
    try:
        for sql in ("SELECT max(last_received) FROM batches WHERE id = ?1 - 1",
                    "SELECT min(first_received) FROM batches WHERE id = ?1 + 1",
                    "SELECT value FROM meta WHERE key = 'created_ns' AND ?1",
                    "SELECT value FROM meta WHERE key = 'last_received' AND ?1"):
            try:
                row = connection.execute(sql, (batch_id,)).fetchone()
                found.append(row and row[0])
            except sqlite3.DatabaseError:
                found.append(None)
        try:
            venues = set(connection.execute("SELECT DISTINCT exchange, market_type FROM instruments").fetchall())
        except sqlite3.DatabaseError:
            venues = set()
    finally:
        connection.close()
    before, after, created, closed = (one if isinstance(one, int) else None for one in found)
    from_ns = before if before is not None else created if created is not None else 0
    to_ns = after if after is not None else closed if closed is not None else int(path.stat().st_mtime_ns)
    return from_ns, max(to_ns, from_ns) + 1, venues


def _unreadable_segment(path: Path) -> Segment:
    at_ns = path.stat().st_mtime_ns
    return Segment(path, 0, -1, last_received=0, created_ns=at_ns, readable=False)
