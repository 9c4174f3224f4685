"""SQLite as every store file uses it: durable, quick to open, its errors in our tree."""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pumpwatch.errors import StorageError

BUSY_MS = 5000
# what reading a damaged file may raise: SQLite's own errors, and values that are not what they should be
DAMAGED: tuple[type[Exception], ...] = (sqlite3.Error, ValueError, TypeError, KeyError)
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE,
            sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_CANTOPEN}
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN}
_CLOSED_TO_US = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
FILE_MODE, FOLDER_MODE = 0o640, 0o750  # trades and notices are the owner's and their group's, whatever the umask says
ANOTHER_FOLDER = "set store.dir to a folder this user may write to"


class DamagedError(StorageError):
    """Set the file aside: what it holds cannot be read as it was written."""


def check_of(*values: object) -> int:
    """Return a checksum of a row's values: SQLite does not notice a flipped bit in a name or a number."""
    return zlib.crc32(repr(values).encode())


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a file in autocommit mode; the caller writes BEGIN and COMMIT. Used by one thread at a time.

    A file that is not there yet is made with FILE_MODE. Raises sqlite3.Error.
    """
    if not read_only and not path.exists():
        with suppress(OSError):  # SQLite says better what is wrong
            make_private(path)
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
    hint = ANOTHER_FOLDER if _closed_to_us(error) else "make room on this disk" if _full(error) else ""
    return StorageError(f"{path}: {doing} failed: {error}", hint)


def is_damage(error: Exception) -> bool:
    """Whether the file itself is broken: not locked, not full, and not closed to this user."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # what is no SQLite answer: text that is not UTF-8, a value of another kind
        return isinstance(error, (sqlite3.OperationalError, ValueError, TypeError))
    return code & 0xFF in _BROKEN or code in _UNREADABLE or str(error).startswith("no such ")


def make_private(path: Path) -> None:
    """Make an empty file that its owner may write, its group read, and others neither; one that is there gets that mode.

    SQLite gives a file's companions the same mode. A file that is there is not opened: closing it would end the locks
    that this process holds on it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        state = path.stat()
        if state.st_mode & 0o777 != FILE_MODE and state.st_uid == os.geteuid() and path.is_file():
            path.chmod(FILE_MODE)
        return
    try:
        os.fchmod(handle, FILE_MODE)
    finally:
        os.close(handle)


def write_private(path: Path, content: bytes) -> None:
    """Replace a small file, whole and durably or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    make_private(partial)
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, that others may not enter; one that is there stays as it is."""
    if path.is_dir():
        return
    private_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    path.chmod(FOLDER_MODE)


def _closed_to_us(error: Exception) -> bool:
    """Whether the folder is one that this process may not write, or none."""
    if isinstance(error, OSError):
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CLOSED_TO_US


def _full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return no_room(error)


def no_room(error: Exception) -> bool:
    """Whether the disk is full, or refuses writes as if it were; a damaged file is another matter."""
    return isinstance(error, OSError) or getattr(error, "sqlite_errorcode", None) in _NO_ROOM


def passing(error: Exception, path: Path) -> bool:
    """Whether a file that is there could not be read for want of memory, handles or a lock: it is good another time."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING and path.exists()


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
