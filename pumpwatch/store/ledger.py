"""The ledger: gaps, connection events, quarantine, notices, listings and messages.

It is one small SQLite file, `ledger.sqlite`, that is kept forever. A write is durable once it returns and harmless if repeated,
so a failed write is simply retried. One Ledger is one connection: each thread opens its own. A broken file raises DamagedError:
the collector's own ledger (lasting.py) then begins a new file, while commands report the error and change nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pumpwatch.errors import StorageError
from pumpwatch.model import Gap, GapState
from pumpwatch.net.texts import one_line
from pumpwatch.records import KEPT_BYTES, ConnectionEvent, GapFill, Quarantined, Records
from pumpwatch.store.gap_fills import FilledRow, join_fills, read_fills, write_fills
from pumpwatch.store.listed import ListedRows, ListingRecord
from pumpwatch.store.messages import MessageRows
from pumpwatch.store.migrations import migrations
from pumpwatch.store.sqlite import (
    BUSY_MS,
    DamagedError,
    connect,
    is_damage,
    make_durable,
    make_private,
    private_folder,
    storage_error,
    transaction,
)
from pumpwatch.store.sqlite_library import Database
from pumpwatch.store.upkeep import QUARANTINE_BYTES, Upkeep

T = TypeVar("T")

__all__ = ["FILE_NAME", "Ledger", "ListingRecord"]

FILE_NAME = "ledger.sqlite"
DAMAGED_HINT = "a collector that starts renames a damaged ledger and copies its readable rows to a new one"
JOURNAL_FOLDER = "journal"
# errors that a record itself causes: a number beyond 64 bits, a text that is not UTF-8, a value of the wrong type
UNSTORABLE = (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.DataError, OverflowError, ValueError, TypeError,
              AttributeError)


class NewerError(StorageError):
    """Refuse to start: a newer version wrote the file, and this version would lose its additions."""


class Ledger(ListedRows, MessageRows):
    """The ledger file of a data folder. Every method blocks briefly and raises StorageError if the disk fails.

    With `read_only` it neither creates a file nor changes the schema, and reads a ledger of an older version as it is.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, busy_ms: int = BUSY_MS,
                 quarantine_bytes: int = QUARANTINE_BYTES) -> None:
        self.path = folder / FILE_NAME
        self._read_only, self._busy_ms = read_only, busy_ms
        self._upkeep = Upkeep(quarantine_bytes)
        self._sets: dict[str, tuple[str, ...]] = {}  # digest -> symbols
        self._written_sets: set[str] = set()
        self.is_new = False  # opening it created its tables
        self._names_symbols = self._has_fills = self._joins_fills = True
        self._connection: sqlite3.Connection | None = None
        self._start()

    def _start(self) -> None:
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        with self._guard("open"):
            if not self._read_only:
                private_folder(self.path.parent)
                make_private(self.path)
            connection = connect(self.path, read_only=self._read_only)
            try:
                connection.execute(f"PRAGMA busy_timeout={self._busy_ms}")
                if self._read_only:
                    self._names_symbols = _has_column(connection, "gaps", "symbols_key")
                    self._has_fills = _has_column(connection, "gap_fills", "symbol")
                    self._joins_fills = _has_column(connection, "gap_fills", "symbols")
                else:
                    make_durable(connection)
                    self.is_new = self._migrate(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> bool:
        """Update the schema; return whether the file was new."""
        db = Database(connection)
        applied = {step.name for step in migrations.applied(db)}
        known = {step.name for step in migrations._migrations}
        if applied - known:
            raise NewerError(f"{self.path}: written by a newer pumpwatch (it knows {', '.join(sorted(applied - known))})",
                             "run that version, or give another store.dir")
        if known - applied:
            try:
                migrations.apply(db)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # its tables contradict its list of migrations
                    raise self._damaged("open", error) from error
                raise
        return not applied

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def _run(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one piece of work on the file. Every read and write goes through this method."""
        with self._guard(doing):
            if self._connection is None:
                raise StorageError(f"{self.path}: {doing} failed: the ledger is not open")
            return work(self._connection)

    @contextmanager
    def _guard(self, doing: str) -> Iterator[None]:
        try:
            yield
        except UNSTORABLE:
            raise
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                raise self._damaged(doing, error) from error
            raise storage_error(self.path, doing, error) from error

    def _damaged(self, doing: str, error: Exception) -> DamagedError:
        return DamagedError(f"{self.path}: the ledger is damaged: {doing} failed: {error}", DAMAGED_HINT)

    def identity(self) -> str:
        """Return the random identity that this file got at its creation."""
        rows = self._rows("SELECT id FROM identity", ())
        return str(rows[0][0]) if rows else ""

    def check_pages(self) -> None:
        """Read every page; slow for a large file. Raises DamagedError if a page is broken."""
        self._rows("SELECT 1 FROM gaps LIMIT 1", ())
        found = one_line(str(self._rows("PRAGMA quick_check(1)", ())[0][0]), 500)
        if found != "ok":
            raise DamagedError(f"{self.path}: the ledger is damaged: {found}", DAMAGED_HINT)

    def write(self, records: Records) -> None:
        """Store all records or none. Writing the same records again changes nothing.

        Raises StorageError if the file or the disk fails, one of UNSTORABLE if a record itself cannot be stored.
        """
        self._run("write", self._writing(records))

    def _writing(self, records: Records) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            with self._upkeep.measuring(), self._forgetting_sets(), transaction(connection):
                self._write_gaps(connection, records.gaps)
                write_fills(connection, records.fills, lambda symbols: self._symbols_key(connection, symbols))
                for gap in records.gaps:
                    if gap.state == GapState.FILLED and not gap.symbol:
                        join_fills(connection, gap, self._symbols_key(connection, gap.symbols))
                connection.executemany(
                    "INSERT OR IGNORE INTO connection_events VALUES (?, ?, ?, ?, ?, ?)",
                    [(event.at_ns, event.exchange, event.market_type, event.connection, event.event, event.reason)
                     for event in records.connection_events])
                self._write_quarantine(connection, records.quarantine)
                if records.quarantine:
                    self._write_gaps(connection, self._upkeep.make_room(connection, records.quarantine))
        return work

    @contextmanager
    def _forgetting_sets(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._written_sets.clear()  # the writes may have been rolled back
            raise

    def _write_gaps(self, connection: sqlite3.Connection, gaps: Sequence[Gap]) -> None:
        # A later end means that the gap has grown: it is open again. A gap is closed as filled or lost only if its end has not
        # changed since that was decided.
        keys = [self._symbols_key(connection, gap.symbols) for gap in gaps]
        connection.executemany(
            "INSERT INTO gaps (exchange, market_type, symbol, from_ns, to_ns, first_id, last_id, reason, state, note,"
            " symbols_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?) ON CONFLICT DO UPDATE SET"
            " to_ns = max(to_ns, excluded.to_ns), state = excluded.state"
            " WHERE excluded.to_ns > to_ns OR (excluded.to_ns = to_ns AND excluded.state != 'open')",
            [(gap.exchange, gap.market_type, gap.symbol, gap.from_ns, gap.to_ns, gap.first_id, gap.last_id, gap.reason,
              gap.state.value, key) for gap, key in zip(gaps, keys, strict=True)])

    def _symbols_key(self, connection: sqlite3.Connection, symbols: tuple[str, ...]) -> str:
        if not symbols:
            return ""
        digest = hashlib.sha256(msgspec.json.encode(sorted(symbols))).hexdigest()[:16]
        if digest not in self._written_sets:
            connection.execute("INSERT OR IGNORE INTO gap_symbols VALUES (?, ?)",
                               (digest, msgspec.json.encode(symbols).decode()))
            self._written_sets.add(digest)
        return digest

    def _write_quarantine(self, connection: sqlite3.Connection, rows: Sequence[Quarantined]) -> None:
        seen: Counter[tuple[int, str, str, str, int]] = Counter()
        values = []
        for row in rows:
            key = (row.at_ns, row.exchange, row.market_type, row.reason, zlib.crc32(row.payload))
            values.append((*key, seen[key], len(row.payload), row.payload[:KEPT_BYTES]))
            seen[key] += 1
        connection.executemany("INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def gaps(self, state: GapState | None = None) -> list[tuple[int, Gap]]:
        """Return (id, gap), oldest first."""
        return self._gaps("WHERE state = ?", (state.value,)) if state else self._gaps("", ())

    def gaps_before(self, before_id: int, limit: int, state: GapState | None = None, exchange: str = "") -> list[tuple[int, Gap]]:
        """Return at most `limit` gaps with ids below `before_id`, the highest first; only of one state or exchange if given."""
        where = "id < ?"
        values: list[object] = [before_id]
        for column, value in (("state", state.value if state else ""), ("exchange", exchange)):
            where, values = (f"{where} AND {column} = ?", [*values, value]) if value else (where, values)
        rows = self._gaps(f"WHERE id IN (SELECT id FROM gaps WHERE {where} ORDER BY id DESC LIMIT ?)", [*values, limit])
        return sorted(rows, key=lambda row: -row[0])

    def gaps_between(self, start_ns: int, end_ns: int) -> list[Gap]:
        """Return the gaps that overlap [start_ns, end_ns), oldest first."""
        return [gap for _, gap in self._gaps("WHERE to_ns > ? AND from_ns < ?", (start_ns, end_ns))]

    def fills_between(self, start_ns: int, end_ns: int) -> list[GapFill]:
        """Return the fills of the gaps that overlap [start_ns, end_ns), without fills of gaps that have grown since."""
        return self._fills("WHERE gaps.to_ns > ? AND gaps.from_ns < ?", "WHERE to_ns > ? AND from_ns < ?", (start_ns, end_ns))

    def open_gaps(self) -> list[Gap]:
        """Return the open gaps, oldest first."""
        return [gap for _, gap in self.gaps(GapState.OPEN)]

    def open_fills(self) -> list[GapFill]:
        """Return the fills of the open gaps."""
        return self._fills("WHERE gaps.state = 'open'", "WHERE state = 'open'", ())

    def _fills(self, joined: str, where: str, values: Sequence[object]) -> list[GapFill]:
        if not self._has_fills:
            return []

        def work(connection: sqlite3.Connection) -> list[tuple[FilledRow, GapState]]:
            try:
                return [(row, GapState(row[3])) for row in read_fills(connection, joined, values, joined=self._joins_fills)]
            except (ValueError, TypeError) as error:
                raise self._damaged("read", error) from error
        rows = self._run("read", work)
        gaps = dict(self._gaps(where, values)) if rows else {}
        return [GapFill(gap=gaps[row[0]], symbol=row[1], state=state, found=row[4], missing=row[5], by=row[6],
                        reason=row[7], lost_from_ns=row[8], lost_to_ns=row[9], at_ns=row[10])
                for row, state in rows if row[0] in gaps]

    def gap_counts(self) -> dict[tuple[str, str, str], int]:
        """Return the number of gaps by (exchange, market_type, state)."""
        return {(row[0], row[1], row[2]): row[3] for row in self._rows(
            "SELECT exchange, market_type, state, count(*) FROM gaps GROUP BY exchange, market_type, state", ())}

    def _gaps(self, where: str, values: Sequence[object]) -> list[tuple[int, Gap]]:
        symbols = ("(SELECT symbols FROM gap_symbols WHERE digest = symbols_key)", "symbols_key") if self._names_symbols else (
            "NULL", "''")
        sql = ("SELECT id, exchange, market_type, symbol, from_ns, to_ns, first_id, last_id, reason, state,"
               f" {', '.join(symbols)} FROM gaps {where} ORDER BY from_ns, id")

        def work(connection: sqlite3.Connection) -> list[tuple[int, Gap]]:
            try:
                return [(row[0], Gap(exchange=row[1], market_type=row[2], symbol=row[3], from_ns=row[4], to_ns=row[5],
                                     first_id=row[6], last_id=row[7], reason=row[8], state=GapState(row[9]),
                                     symbols=self._set_of(row[10], row[11])))
                        for row in connection.execute(sql, values)]
            except (ValueError, TypeError) as error:
                raise self._damaged("read", error) from error
        return self._run("read", work)

    def _set_of(self, text: str | None, digest: str) -> tuple[str, ...]:
        """Return a gap's symbols. If their names are lost, return an empty tuple, which means the whole venue."""
        if text is None:
            return ()
        if digest not in self._sets:
            if len(self._sets) > 10_000:
                self._sets.clear()
            self._sets[digest] = msgspec.json.decode(text, type=tuple[str, ...])
        return self._sets[digest]

    def connection_events(self, since_ns: int = 0) -> list[ConnectionEvent]:
        """Return the events since a moment, oldest first."""
        return [ConnectionEvent(*row) for row in self._rows(
            "SELECT * FROM connection_events WHERE at_ns >= ? ORDER BY at_ns", (since_ns,))]

    def quarantine(self, limit: int = 1000) -> list[Quarantined]:
        """Return the newest `limit` rows, oldest first."""
        rows = self._rows("SELECT at_ns, exchange, market_type, reason, payload FROM quarantine"
                          " ORDER BY at_ns DESC, nth DESC LIMIT ?", (limit,))
        return [Quarantined(*row) for row in reversed(rows)]

    def quarantine_count(self) -> int:
        """Return the number of quarantined rows."""
        return int(self._rows("SELECT count(*) FROM quarantine", ())[0][0])

    def notice_count(self, source: str) -> int:
        """Return the number of known notices of a source.

        It is 0 before the source's first look. If known notices were lost, it is 0 again until `first_look_done`.
        """
        if self._rows("SELECT 1 FROM first_looks WHERE source = '*' AND NOT EXISTS"
                      " (SELECT 1 FROM first_looks WHERE source = ?)", (source,)):
            return 0
        return int(self._rows("SELECT count(*) FROM notices WHERE source = ?", (source,))[0][0])

    def first_look_done(self, source: str) -> None:
        """Record that the notices of a source's first look are remembered. Harmless when repeated."""
        self._change("INSERT OR IGNORE INTO first_looks SELECT ? WHERE EXISTS (SELECT 1 FROM first_looks WHERE source = '*')",
                     (source,))

    def upkeep(self, now_ns: int) -> bool:
        """Delete a few rows that are too old or too many; return whether there are more to delete.

        Each call is one short transaction. Rows that are deleted early leave a gap with their venue and time.
        """
        def work(connection: sqlite3.Connection) -> bool:
            with self._upkeep.measuring(), transaction(connection):
                self._written_sets.clear()  # the upkeep deletes sets that no gap names any more
                step = self._upkeep.step(connection, now_ns)
                self._write_gaps(connection, step.gaps)
                return step.more
        return self._run("upkeep", work)

    def _rows(self, sql: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        return self._run("read", lambda connection: connection.execute(sql, values).fetchall())

    def _change(self, sql: str, values: Sequence[object]) -> int:
        def work(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                return connection.execute(sql, values).rowcount
        return self._run("write", work)


def is_missing(folder: Path) -> bool:
    """Return whether a data folder has neither a ledger nor trades. Raises DamagedError if it has trades but no ledger."""
    path = folder / FILE_NAME
    if path.exists() and (not path.is_file() or path.stat().st_size):
        return False
    if any((folder / JOURNAL_FOLDER).glob("*.sqlite")):
        raise DamagedError(f"{path}: the ledger is missing or empty although trades are stored: their gaps are unknown",
                           "a collector that starts begins a new ledger and records since when gaps are unknown")
    return not path.exists()


def _has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})"))
