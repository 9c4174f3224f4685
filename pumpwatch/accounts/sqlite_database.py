"""The account ledger in an SQLite file: durable commits in write-ahead mode, one writer at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pumpwatch.accounts.database import Database, Row, conflict
from pumpwatch.accounts.refusals import DamagedLedgerError
from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError

BUSY_MS = 5000  # a writer waits this long for another one's commit
FILE_MODE, FOLDER_MODE = 0o640, 0o750
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE,
         sqlite3.SQLITE_IOERR_SHMSIZE}
DAMAGED_HINT = "restore it from a backup, or move it away and run again: a run creates its accounts again"


class SqliteDatabase(Database):
    """One connection to a file, which is created if missing; with `read_only` it must exist."""

    types: Mapping[str, str] = {"amount": "TEXT", "number": "INTEGER", "json": "TEXT",
                                "counter": "INTEGER PRIMARY KEY AUTOINCREMENT"}

    def __init__(self, path: Path, *, read_only: bool = False, busy_ms: int = BUSY_MS) -> None:
        self.path, self.name, self.read_only = path, str(path), read_only
        with self._errors("open"):
            if not read_only:
                path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    close_now(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
            self.connection = self._connect(busy_ms)

    def _connect(self, busy_ms: int) -> sqlite3.Connection:
        named = str(self.path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        uri = f"file:{named}?mode={'ro' if self.read_only else 'rw'}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_ms / 1000)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if not self.read_only:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute("PRAGMA foreign_keys=1")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._explained(doing, error) from error

    def _explained(self, doing: str, error: Exception) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        text = f"{self.path}: {doing} failed: {error}"
        if isinstance(error, sqlite3.IntegrityError):
            return conflict(error)
        if code is None and isinstance(error, sqlite3.Error):  # text that is not UTF-8
            return DamagedLedgerError(text, DAMAGED_HINT)
        if code is not None and (code & 0xFF in _BROKEN or str(error).startswith("no such ")):
            return DamagedLedgerError(text, DAMAGED_HINT)
        if code is not None and code & 0xFF in _LOCKED:
            return StorageError(text, "another process has locked it for a long time; try again")
        return StorageError(text, "free space on this disk" if code in _FULL else "")

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            return self.connection.execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._explained("read", error) from error

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        with self._errors("write"):
            return self.connection.execute(statement, values).rowcount

    def many(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        with self._errors("write"):
            return self.connection.executemany(statement, rows).rowcount

    def begin(self) -> None:
        with self._errors("write"):
            self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        with self._errors("write"):
            self.connection.execute("COMMIT")

    def roll_back(self) -> None:
        if self.in_transaction:
            with suppress(sqlite3.Error):  # the connection is unusable; closing it rolls back
                self.connection.execute("ROLLBACK")

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    def begin_snapshot(self) -> None:
        with self._errors("read"):
            self.connection.execute("BEGIN")

    def has_table(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?", [name]))

    def lock_out(self) -> None:
        """Do nothing: SQLite allows only one writing transaction."""

    def problems(self) -> list[str]:
        return [str(text) for text, in self.rows("PRAGMA integrity_check(20)") if text != "ok"]

    def close(self) -> None:
        self.connection.close()
