"""SQLite as every store file uses it: durable, quick to open, its errors in our tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pumpwatch.errors import StorageError

BUSY_MS = 5000
_FULL = ("disk is full", "No space left", "disk I/O error", "File too large", "unable to open database file")


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a file in autocommit mode; the caller writes BEGIN and COMMIT. Used by one thread at a time."""
    mode = "ro" if read_only else "rwc"
    uri = f"file:{str(path.absolute()).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    try:
        if read_only:
            connection.execute("PRAGMA query_only=1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Write ahead, and return from COMMIT only when the disk has it."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def storage_error(path: Path, doing: str, error: Exception) -> StorageError:
    """Say what SQLite or the system said, with the file and a way out."""
    text = str(error)
    full = any(words in text for words in _FULL)
    hint = "make room on this disk; writing goes on by itself" if full else ""
    return StorageError(f"{path}: {doing} failed: {text}", hint)


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn errors of SQLite and of the system into StorageError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise storage_error(path, doing, error) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all or nothing; whatever goes wrong rolls back and is raised again."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # the connection is dead; closing it rolls back
        raise
