"""The collector's own ledger: it survives the loss of its file, and any native thread may call it.

A damaged file is renamed, its readable rows are copied to a new file, and the call that met the damage is repeated. An identity
beside the ledger shows whether the file was removed, emptied or replaced. If recorded gaps may be lost with the file, a gap is
recorded for each stored venue, from the oldest segment on.

Calls fail while the ledger is locked or its disk is full, and the next call tries again. Records that the ledger has not taken
are kept in `ledger.waiting.json` until it takes them, in this run or the next, so that neither a kill nor a stop loses them.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from _thread import RLock  # after gevent's patch, threading's own makes locks for greenlets, which lose wake-ups of threads
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import UNSTORABLE, Ledger, NewerError
from pumpwatch.store.names import stored_venues
from pumpwatch.store.reader import FOLDER, SUFFIX
from pumpwatch.store.salvage import salvage_file
from pumpwatch.store.segment import whole_frames
from pumpwatch.store.sqlite import DamagedError, connect, storage_error, write_private
from pumpwatch.store.upkeep import QUARANTINE_BYTES
from pumpwatch.store.waiting import WaitingFile

log = logging.getLogger(__name__)

T = TypeVar("T")

IDENTITY_NAME = "ledger.identity"
BUSY_MS = 1000  # a call waits this long for another process's lock before it fails
LOCK_S = 10.0  # a call waits this long for another thread's call
CLOSE_LOCK_S, LAST_BUSY_MS = 0.5, 100  # the same two limits at a stop
WAL_HEADER_BYTES = 32
COMPANIONS = ("", "-wal", "-shm", "-journal")
MOST_ASIDE, WITHIN_S = 10, 60.0  # most files set aside in this time, so that they do not fill a broken disk
LOST = "the ledger was lost: gaps before this are unknown"
DAMAGED_GAPS = "the ledger was damaged: gaps before this may be unknown"


class LastingLedger(Ledger):
    """A ledger that repairs itself. Opening it only fails for a file of a newer version; other calls may raise StorageError."""

    def __init__(self, folder: Path, clock: Clock, stats: Stats, *, quarantine_bytes: int = QUARANTINE_BYTES) -> None:
        self._folder, self._clock, self._stats = folder, clock, stats
        self._lock = RLock()  # between native threads; the hub's thread never holds it for long
        self._deferred: deque[Records] = deque()
        self._aside: list[Path] = []  # files whose rows are not copied yet
        self._aside_at: deque[float] = deque(maxlen=MOST_ASIDE)
        self._file: tuple[int, ...] = ()  # inodes, which differ from those of a replacement with the same name
        self._unnamed = ""  # an identity that is not written beside the file yet
        self._refused: Records | None = None  # the records of the last write, if it failed
        self._rest = Records()  # the unwritten records of the caller of `keep`
        self._waiting = WaitingFile(folder)
        self._logged = ""
        self._closed = False
        super().__init__(folder, busy_ms=BUSY_MS, quarantine_bytes=quarantine_bytes)

    def _start(self) -> None:
        self._load_waiting()
        try:
            self._run("open", lambda connection: None)
        except NewerError:
            self.close()
            raise
        except StorageError as error:
            log.error("ledger write failed, trades are stored and records wait reason=%s", error.message)

    def close(self, rest: Records | None = None) -> None:
        """Close the file. Waiting records are written, or kept on disk for the next start. Never waits long for a lock.

        rest: all records that `write` refused or did not get. Raises StorageError if records could be stored in no file.
        """
        rest = rest if rest is not None else self._rest or self._refused or Records()
        if not self._lock.acquire(timeout=CLOSE_LOCK_S):
            self.leave(rest)
            return
        try:
            if self._closed:
                return
            if rest:
                self._deferred.append(rest)
            self._write_last()
            self._closed = True
            super().close()
            self._connection = None
            self.leave(Records())
        finally:
            self._lock.release()

    def _write_last(self) -> None:
        """Try once to write the deferred records, with a short wait for another process's lock."""
        if self._connection is None or self._identify() != self._file:
            return
        with suppress(sqlite3.Error, StorageError):
            self._connection.execute(f"PRAGMA busy_timeout={LAST_BUSY_MS}")
            self._write_deferred()

    def leave(self, rest: Records) -> None:
        """Keep unwritten records and `rest` on disk for the next start, in any state of the ledger.

        Raises StorageError if that fails.
        """
        if self._waiting.end([*self._deferred, rest]):
            log.warning("ledger did not take the last records, the next start writes them file=%s", self._waiting.path)

    def defer(self, records: Records) -> None:
        """Queue records for the next call. Never blocks, never fails; any thread."""
        self._deferred.append(records)

    def keep_deferred(self) -> bool:
        """Keep deferred records on disk for the next start; return whether all are written or kept. Any thread."""
        return not self._deferred or self._keep_waiting()

    def keep(self, rest: Records) -> bool:
        """Keep on disk `rest`, all records that `write` has not taken yet; return whether that is done. Any thread."""
        self._rest = rest
        return self._keep_waiting()

    def _keep_waiting(self) -> bool:
        return self._waiting.keep(lambda: [*self._deferred, self._rest or self._refused or Records()])

    def write(self, records: Records) -> None:
        """Store all records. Raises like `Ledger.write`; refused records are kept on disk, and the caller keeps them too."""
        try:
            self._write_storable(super().write, records)
        except StorageError as error:
            self._refused = records
            if error.message != self._logged:
                self._logged = error.message
                log.error("ledger write failed, trades are stored and records wait reason=%s", error.message)
            self._keep_waiting()
            raise
        if self._refused is not None:
            log.warning("ledger accepts records again file=%s", self.path.name)
        self._refused, self._logged = None, ""
        self._keep_waiting()

    def check(self) -> None:
        """Read every page; set the file aside if one is broken. Slow, but other calls are not blocked."""
        try:
            ledger = Ledger(self._folder, read_only=True)
            try:
                ledger.check_pages()
            finally:
                ledger.close()
        except DamagedError as error:
            with self._lock:
                if not self._closed:
                    self._replace_file(error.message)
        except StorageError:
            return  # locked or gone: the next call notices

    def _run(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if not self._lock.acquire(timeout=LOCK_S):
            raise StorageError(f"{self.path}: {doing} failed: the ledger is busy with another call")
        try:
            try:
                self._ready()
                self._write_deferred()
                return super()._run(doing, work)
            except DamagedError as error:
                self._replace_file(error.message)
                self._write_deferred()
                return super()._run(doing, work)
        except OSError as error:
            raise storage_error(self.path, doing, error) from error
        finally:
            self._lock.release()

    def _ready(self) -> None:
        if self._closed:
            raise StorageError(f"{self.path}: the ledger is closed")
        if self._connection is not None and self._identify() != self._file:
            self._save_moved()
        if self._connection is None:
            self._open_file()
        if self._aside:
            self._salvage()
        if self._unnamed:
            self._write_identity()

    def _write_identity(self) -> None:
        """Write the ledger's identity beside it, after recording the deferred gaps in the ledger."""
        self._write_deferred()
        try:
            write_private(self._folder / IDENTITY_NAME, f"{self._unnamed}\n".encode())
        except OSError as error:
            raise storage_error(self._folder / IDENTITY_NAME, "write", error) from error
        self._unnamed = ""

    def _identify(self) -> tuple[int, ...]:
        found: list[int] = []
        try:
            for suffix in ("", "-wal"):
                state = self.path.with_name(self.path.name + suffix).stat()
                found += [state.st_dev, state.st_ino]
        except OSError:
            return ()
        return tuple(found)

    def _open_file(self) -> None:
        """Open the existing file or create one; record gaps if it is not the earlier ledger."""
        beside = self._beside()
        if self.path.exists() and self._is_unusable():
            self._set_aside()
        torn = _lost_pages(self.path)
        self._connection = self._open()
        self._written_sets.clear()  # they may belong to another file
        self._upkeep.measure_again()
        try:
            own = self._own_identity()
            self._file = self._identify()
            stored = any((self._folder / FOLDER).glob(f"*{SUFFIX}"))
            if not self._aside and ((self.is_new and (stored or beside)) or (not self.is_new and beside not in ("", own))):
                log.error("ledger lost, gaps before now are unknown file=%s reason=%r", self.path.name,
                          "a new one was created" if self.is_new else "another file is in its place")
                self._defer_unknown_gaps(LOST)
            elif torn:
                log.error("ledger damaged file=%s-wal reason='its write-ahead log is torn'", self.path.name)
                self._defer_unknown_gaps(DAMAGED_GAPS)
            self._unnamed = own if own != beside else ""
        except BaseException:
            self._connection.close()
            self._connection = None
            raise

    def _own_identity(self) -> str:
        return str(super()._run("read", lambda connection: connection.execute("SELECT id FROM identity").fetchone()[0]))

    def _beside(self) -> str:
        try:
            return (self._folder / IDENTITY_NAME).read_text("ascii", "replace").strip()
        except OSError:
            return ""

    def _is_unusable(self) -> bool:
        """Return whether the path is not a ledger: it is a folder, or an empty file with another file's log."""
        if not self.path.is_file():
            return True
        wal = self.path.with_name(self.path.name + "-wal")
        return self.path.stat().st_size == 0 and wal.exists() and wal.stat().st_size > 0

    def _replace_file(self, reason: str) -> None:
        """Set the damaged file aside, and continue with a new file that has its readable rows."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._aside.append(self._set_aside())
        log.error("ledger damaged and set aside, a new one is used file=%s reason=%s", self._aside[-1].name, reason)
        self._stats.add("ledger_set_aside_total")
        self._ready()

    def _save_moved(self) -> None:
        """Copy the content of a removed or replaced file, which the connection can still read."""
        log.error("ledger was removed or replaced, its content is copied file=%s", self.path.name)
        connection, self._connection = self._connection, None
        assert connection is not None
        copy = self._free_name("moved")
        try:
            saved = sqlite3.connect(copy)
            try:
                connection.backup(saved)
                saved.execute("PRAGMA journal_mode=DELETE")
            finally:
                saved.close()
            copy.chmod(0o640)
            self._aside.append(copy)
        except (sqlite3.Error, OSError) as error:
            log.error("ledger not copied reason=%s", error)
        finally:
            connection.close()

    def _set_aside(self) -> Path:
        now_s = time.monotonic()
        if len(self._aside_at) == MOST_ASIDE and now_s - self._aside_at[0] < WITHIN_S:
            raise StorageError(f"{self.path}: the ledger is damaged again and again", "check the disk")
        self._aside_at.append(now_s)
        aside = self._free_name("damaged")
        try:
            for suffix in COMPANIONS:
                companion = self.path.with_name(self.path.name + suffix)
                if companion.exists():
                    companion.rename(aside.with_name(aside.name + suffix))
        except OSError as error:
            raise storage_error(self.path, "setting aside", error) from error
        return aside

    def _free_name(self, what: str) -> Path:
        stem = f"{self.path.name}.{what}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(self._clock.now_ns() // 10**9))}"
        number = 0
        while (path := self.path.with_name(f"{stem}-{number}" if number else stem)).exists():
            number += 1
        return path

    def _salvage(self) -> None:
        while self._aside:
            path = self._aside[0]
            kept = super()._run("keep", partial(salvage_file, path))
            if "gaps" in kept.broken:
                self._defer_unknown_gaps(DAMAGED_GAPS)
            self._aside.pop(0)
            log.warning("ledger rows copied to the new file from=%s %s unreadable=%s", path.name, kept,
                        ",".join(sorted(kept.broken)) or "none")

    def _defer_unknown_gaps(self, reason: str) -> None:
        oldest_ns, venues = stored_venues((self._folder / FOLDER).glob(f"*{SUFFIX}"))
        now_ns = self._clock.now_ns()
        self.defer(Records(gaps=[
            Gap(exchange=exchange, market_type=market_type, from_ns=min(oldest_ns or now_ns - 1, now_ns - 1),
                to_ns=now_ns, reason=reason,
                state=GapState.OPEN if exchange else GapState.LOST) for exchange, market_type in venues or [("", "")]]))

    def _write_deferred(self) -> None:
        """Write deferred records; refused records stay deferred."""
        if not self._deferred:
            return
        while self._deferred:
            try:
                self._write_storable(lambda records: super(LastingLedger, self)._run("write", self._writing(records)),
                                     self._deferred[0])
            except DamagedError:
                raise
            except StorageError:
                return
            self._deferred.popleft()
        self._keep_waiting()

    def _write_storable(self, write: Callable[[Records], None], records: Records) -> None:
        """Write all records except unstorable ones, so that one such record does not block the others."""
        try:
            write(records)
        except UNSTORABLE as error:
            each = list(records.one_by_one())
            if len(each) <= 1:
                log.error("record left out, it cannot be stored record=%r reason=%s", records, error)
                self._stats.add("unstorable_records_total")
                return
            for half in (each[: len(each) // 2], each[len(each) // 2:]):
                together = Records()
                for single in half:
                    together.extend(single)
                self._write_storable(write, together)

    def _load_waiting(self) -> None:
        try:
            records = self._waiting.load()
        except ValueError as error:
            log.error("waiting records unreadable, a gap is recorded file=%s reason=%s", self._waiting.path.name, error)
            self._defer_unknown_gaps(DAMAGED_GAPS)
            try:
                self._waiting.path.rename(self._free_name("waiting-damaged"))
            except OSError as renaming:
                log.error("waiting records not set aside file=%s reason=%s", self._waiting.path.name, renaming)
            return
        if records:
            self._deferred.append(records)


def _lost_pages(path: Path) -> bool:
    """Return whether SQLite silently reads only a part of the complete frames in the write-ahead log of a crashed run."""
    wal = path.with_name(path.name + "-wal")
    try:
        if not path.stat().st_size or wal.stat().st_size <= WAL_HEADER_BYTES:
            return False
        frames = whole_frames(path)
        connection = connect(path)
        try:
            taken = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        finally:
            connection.close()
    except (sqlite3.Error, OSError):
        return False  # opening the file reports the error
    return int(taken) <= 0 or int(taken) < frames
