"""One file of the journal: its schema, its writer, and its recovery after a crash.

A segment belongs to one run of one process: its instrument numbers are that run's own, and the file carries their names.
It is in WAL mode while it is open, and one plain file once it is closed. Batch ids are contiguous inside a segment and ascend
over all segments. Rows that a failed commit left behind have the next segment's first id or a higher one, and do not count.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError
from pumpwatch.store.sqlite import READ_BUSY_MS, check_of, connect, make_durable, storage_errors, transaction

SCHEMA = 1
CLEAN, RECOVERED = "clean", "recovered"
NEW = ".new"  # suffix of a file that is being made
_PAGE_BYTES = 4096
_WAL_HEADER = struct.Struct(">4sIIIIIII")
_WAL_FRAME = struct.Struct(">IIIIII")
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE instruments (id INTEGER PRIMARY KEY, exchange TEXT, market_type TEXT, symbol TEXT, base TEXT, quote TEXT,
    multiplier INTEGER, contract_size REAL, checksum INTEGER);
CREATE TABLE batches (id INTEGER PRIMARY KEY, first_timestamp INTEGER, last_timestamp INTEGER, first_received INTEGER,
    last_received INTEGER, trades INTEGER, head BLOB, body BLOB);
CREATE INDEX batches_time ON batches (last_timestamp, first_timestamp, trades);
CREATE INDEX batches_long ON batches (last_timestamp, first_timestamp)
    WHERE last_timestamp - first_timestamp > 60000000000;
CREATE TABLE acknowledged (sink TEXT PRIMARY KEY, batch_id INTEGER, checksum INTEGER) WITHOUT ROWID;
CREATE TABLE last_ids (id INTEGER PRIMARY KEY CHECK (id = 1), batch_id INTEGER, ids BLOB, checksum INTEGER);
CREATE TABLE passed_ids (instrument INTEGER PRIMARY KEY, id INTEGER, timestamp INTEGER, checksum INTEGER);
CREATE TABLE void_ids (batch_id INTEGER, instrument INTEGER, id INTEGER, timestamp INTEGER,
    PRIMARY KEY (batch_id, instrument, id)) WITHOUT ROWID;
"""
LONG_NS = 60_000_000_000  # batches that span more than this, because of late trades, have their own index
_INSERT = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

Row = tuple[int, int, int, int, int, int, bytes, bytes]  # a row of `batches`
LastRow = tuple[int, int, int]  # a row of `passed_ids`: instrument, id, time
MOST_LEFT_OUT = 1_000_000  # most ids between two batches of a file; a larger step is a flipped bit


@dataclass(slots=True)
class Segment:
    """The summary of a file. last_id is first_id - 1 while the file is empty. Times are in ns since 1970, UTC."""

    path: Path
    first_id: int
    last_id: int
    run: str = ""
    trades: int = 0
    first_timestamp: int = 2**63 - 1
    last_timestamp: int = -(2**63)
    last_received: int = 0
    created_ns: int = 0
    state: str = ""  # CLEAN, RECOVERED, or empty: open, or left open by a crash
    ordinal: int = 0  # the number of the file since the journal began; unlike times, it never goes back
    readable: bool = True
    locked: bool = False  # another process locked it at the start; its summary is an estimate until it is read (locked.py)
    venues: set[tuple[str, str]] = field(default_factory=set)
    damaged: list[tuple[int, int]] = field(default_factory=list)  # ids of batches that cannot be read, recorded as gaps
    index_damaged: bool = False  # queries must not use its time index
    counts: array[int] | None = field(default=None, repr=False)  # trades of each batch, filled in on demand

    def count_written(self, rows: Sequence[Row]) -> None:
        """Add written rows to the summary."""
        for row in rows:
            self.last_id, self.trades = row[0], self.trades + row[5]
            self.first_timestamp = min(self.first_timestamp, row[1])
            self.last_timestamp = max(self.last_timestamp, row[2])
            self.last_received = max(self.last_received, row[4])
            if self.counts is not None:
                self.counts.append(row[5])

    def size_bytes(self) -> int:
        """Return the size on disk of the file and its companions."""
        return sum(_size(companion) for companion in companions(self.path))


class Writer:
    """The writer of the open segment. Use it from one thread."""

    def __init__(self, path: Path, first_id: int, run: str, now_ns: int, ordinal: int) -> None:
        """Create the file, or raise StorageError and leave nothing behind."""
        self.segment = Segment(path, first_id, first_id - 1, run, created_ns=now_ns, ordinal=ordinal, counts=array("I"))
        self.unchecked_bytes = 0  # about the bytes written since the last checkpoint
        self.written_bytes = 0
        self._held: set[int] = set()
        self._number = 0  # the file's inode, which differs from that of a replacement with the same name
        with storage_errors(path, "make a segment"):
            try:
                _make(path, {"schema": SCHEMA, "first_batch_id": first_id, "run": run, "created_ns": now_ns,
                             "ordinal": ordinal, "state": ""})
                self._connection = connect(path)
                try:
                    make_durable(self._connection)
                    self._connection.execute("PRAGMA wal_autocheckpoint=0")
                    self._number = path.stat().st_ino
                except BaseException:
                    self._connection.close()
                    raise
            except BaseException:
                unlink(path)
                raise

    def commit(self, rows: Sequence[Row], instruments: Iterable[int], catalogue: Catalogue,
               acknowledged: Mapping[str, int], last_ids: tuple[int, bytes] | None, passed: Iterable[LastRow] = (),
               voids: Sequence[LastRow] = ()) -> None:
        """Store everything durably, or store nothing and raise sqlite3.Error.

        passed: the last id of each instrument that a row without a trade used up. voids: all such ids. Both are (instrument, id,
        time in ns).
        """
        instruments = dict.fromkeys([*instruments, *(row[0] for row in passed), *(row[0] for row in voids)])
        new = [number for number in instruments if number not in self._held]
        with transaction(self._connection):
            execute = self._connection.execute
            for number in new:
                instrument, (exchange, market_type) = catalogue.instruments[number], catalogue.venues[number]
                values = (number, exchange, market_type, instrument.symbol, instrument.base, instrument.quote,
                          instrument.multiplier, float(instrument.contract_size))
                execute("INSERT INTO instruments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, check_of(*values)))
            for row in rows:
                execute(_INSERT, row)
            for item in acknowledged.items():
                execute("INSERT OR REPLACE INTO acknowledged VALUES (?, ?, ?)", (*item, check_of(*item)))
            if last_ids is not None:
                execute("DELETE FROM passed_ids")  # they are in it
                execute("INSERT OR REPLACE INTO last_ids VALUES (1, ?, ?, ?)", (*last_ids, check_of(*last_ids)))
            for passed_row in passed if last_ids is None else ():
                execute("INSERT OR REPLACE INTO passed_ids VALUES (?, ?, ?, ?)", (*passed_row, check_of(*passed_row)))
            self._connection.executemany("INSERT OR IGNORE INTO void_ids VALUES (?, ?, ?, ?)",
                                         [(row[0], *void) for row in rows[-1:] for void in voids])
        self._held.update(new)
        self.segment.venues.update(catalogue.venues[number] for number in new)
        self.segment.count_written(rows)
        size = sum(len(row[6]) + len(row[7]) for row in rows)
        self.written_bytes += size
        self.unchecked_bytes += size + 4 * _PAGE_BYTES

    def in_place(self) -> bool:
        """Return whether the file is still in its place: trades written into a removed file would be lost."""
        try:
            return self.segment.path.stat().st_ino == self._number
        except FileNotFoundError:
            return False

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the file, without waiting for readers."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self.unchecked_bytes = 0

    def close(self, state: str = CLEAN) -> None:
        """Write the summary and turn the segment into one plain file. The file is intact even if this raises sqlite3.Error."""
        try:
            finish(self._connection, self.segment, state)
        finally:
            self._connection.close()

    def abandon(self) -> None:
        """Close a file that is no longer writable."""
        self._connection.close()


def _make(path: Path, meta: Mapping[str, object]) -> None:
    """Create a file with its tables under a temporary name, then rename it, so that no segment is incomplete."""
    new = path.with_name(path.name + NEW)
    unlink(new)
    try:
        connection = connect(new)
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA synchronous=FULL")
            with transaction(connection):
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                _write_meta(connection, meta)
        finally:
            connection.close()
        new.rename(path)
        sync_folder(path.parent)
    except BaseException:
        unlink(new)
        raise


def finish(connection: sqlite3.Connection, segment: Segment, state: str) -> None:
    """Write a segment's summary and end WAL mode. A file that a reader has open stays in WAL mode."""
    summary = {"last_batch_id": segment.last_id, "trades": segment.trades, "first_timestamp": segment.first_timestamp,
               "last_timestamp": segment.last_timestamp, "last_received": segment.last_received, "state": state}
    with transaction(connection):
        _write_meta(connection, {**_meta(connection), **summary})
    segment.state = state
    connection.execute("PRAGMA busy_timeout=100")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error) and "busy" not in str(error):
            raise


def read_segment(path: Path) -> Segment:
    """Read a segment's summary. Raises StorageError for a newer schema, sqlite3.Error for a damaged or locked file."""
    connection = connect(path, read_only=True)
    try:
        return _read(connection, path)
    finally:
        connection.close()


def _read(connection: sqlite3.Connection, path: Path) -> Segment:
    meta = _meta(connection)
    check_schema(path, meta["schema"])
    first_id = int(meta["first_batch_id"])
    segment = Segment(path, first_id, first_id - 1, str(meta["run"]), created_ns=int(meta["created_ns"]),
                      state=str(meta["state"]), ordinal=int(meta.get("ordinal", 0)))
    if segment.state:
        segment.last_id, segment.trades = int(meta["last_batch_id"]), int(meta["trades"])
        segment.first_timestamp, segment.last_timestamp = int(meta["first_timestamp"]), int(meta["last_timestamp"])
        segment.last_received = int(meta["last_received"])
        return segment
    _sum_up(connection, segment)
    return segment


def _sum_up(connection: sqlite3.Connection, segment: Segment) -> None:
    """Compute the summary from the rows, or from the time index if the table is unreadable.

    No checksum protects these columns, so implausible rows are left out.
    """
    try:
        rows = connection.execute("SELECT id, trades, first_timestamp, last_timestamp, last_received FROM batches"
                                  " NOT INDEXED ORDER BY id").fetchall()
    except sqlite3.DatabaseError:
        rows = connection.execute("SELECT id, trades, first_timestamp, last_timestamp, last_timestamp FROM batches"
                                  " INDEXED BY batches_time ORDER BY id").fetchall()
    for row in rows:
        if not all(isinstance(value, int) for value in row) or not 0 < row[0] - segment.last_id <= MOST_LEFT_OUT:
            continue
        segment.last_id = row[0]
        segment.trades += row[1]
        segment.first_timestamp = min(segment.first_timestamp, row[2])
        segment.last_timestamp = max(segment.last_timestamp, row[3])
        segment.last_received = max(segment.last_received, row[4])


def _meta(connection: sqlite3.Connection) -> dict[str, Any]:
    meta: dict[str, Any] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if meta.pop("checksum", None) != check_of(*sorted(meta.items())):
        raise sqlite3.DatabaseError("it is not a journal segment, or its summary is damaged")
    return meta


def _write_meta(connection: sqlite3.Connection, meta: Mapping[str, object]) -> None:
    rows = [*meta.items(), ("checksum", check_of(*sorted(meta.items())))]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)


def check_schema(path: Path, schema: object) -> None:
    """Raise StorageError for a file of a newer version, sqlite3.Error for a file that is not a segment."""
    if not isinstance(schema, int) or schema < 1:
        raise sqlite3.DatabaseError("it is not a journal segment")
    if schema > SCHEMA:
        raise StorageError(f"{path}: written by a newer pumpwatch (schema {schema}, known here: {SCHEMA})",
                           "run that version, or give another store.dir")


def recover_segment(path: Path) -> tuple[Segment, int]:
    """Read a segment that a crash left in WAL mode, and close it if the disk allows; return it and the number of lost pages.

    Lost pages belong to committed transactions in the write-ahead log that SQLite no longer reads. The caller holds the
    folder's lock. Raises the same errors as `read_segment`.
    """
    frames = whole_frames(path)
    connection = connect(path, busy_ms=READ_BUSY_MS)
    try:
        segment = _read(connection, path)
        _, in_log, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        lost = frames - max(in_log, 0)
        try:
            finish(connection, segment, RECOVERED)
        except sqlite3.Error:
            segment.state = RECOVERED  # the disk is full: the file is readable, and the next start closes it
    finally:
        connection.close()
    return segment, max(lost, 0)


def whole_frames(path: Path) -> int:
    """Return the number of frames of the write-ahead log that belong to completely written commits.

    SQLite silently stops at the first frame with a wrong checksum; this function also counts the frames after it.
    """
    try:
        with path.with_name(path.name + "-wal").open("rb") as log:
            header = log.read(_WAL_HEADER.size)
            if len(header) < _WAL_HEADER.size:
                return 0
            _, _, page_bytes, _, salt1, salt2, _, _ = _WAL_HEADER.unpack(header)
            count = whole = 0
            while len(frame := log.read(_WAL_FRAME.size)) == _WAL_FRAME.size and page_bytes:
                _, committed_pages, frame_salt1, frame_salt2, _, _ = _WAL_FRAME.unpack(frame)
                if (frame_salt1, frame_salt2) != (salt1, salt2):
                    break
                if len(log.read(page_bytes)) < page_bytes:
                    break
                count += 1
                if committed_pages:
                    whole = count
            return whole
    except OSError:
        return 0


def companions(path: Path) -> list[Path]:
    """Return a segment's file and the files that SQLite keeps beside it."""
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal"))]


def unlink(path: Path) -> None:
    """Remove a segment and its companions, the file itself last, so that no companion outlives it."""
    for companion in reversed(companions(path)):
        companion.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make new and removed file names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        close_now(handle)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
