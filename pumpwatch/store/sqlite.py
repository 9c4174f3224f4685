"""Open SQLite files for the store: with durable commits, private file modes and StorageError."""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pumpwatch.descriptors import close_now
from pumpwatch.errors import StorageError

BUSY_MS = 5000  # a writer waits this long for another process's lock
READ_BUSY_MS = 100  # a reader waits this long; then it reports the lock, and its caller tries again
# reading a damaged file may raise SQLite's own errors, or errors about values of the wrong type
DAMAGED: tuple[type[Exception], ...] = (sqlite3.Error, ValueError, TypeError, KeyError)
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE,
            sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_CANTOPEN}
_TEMPORARY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL}
_TEMPORARY_IO = {sqlite3.SQLITE_IOERR_NOMEM, sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_IOERR_RDLOCK, sqlite3.SQLITE_IOERR_BLOCKED,
                 sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK, sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMOPEN,
                 sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMLOCK}
_CLOSED_TO_US = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ}
FILE_MODE, FOLDER_MODE = 0o640, 0o750  # only owner and group may read trades and notices, whatever the umask is
ANOTHER_FOLDER = "set store.dir to a folder this user may write to"


class DamagedError(StorageError):
    """Set the file aside: its content is damaged."""


def check_of(*values: object) -> int:
    """Return a checksum of a row's values, because SQLite does not detect a flipped bit in a name or a number."""
    return zlib.crc32(repr(values).encode())


def connect(path: Path, *, read_only: bool = False, busy_ms: int | None = None) -> sqlite3.Connection:
    """Open a file in autocommit mode; the caller executes BEGIN and COMMIT. Use it from one thread at a time.

    Creates a missing file with FILE_MODE unless `read_only`. Waits `busy_ms` for a lock: by default BUSY_MS, or READ_BUSY_MS
    if `read_only`. Raises sqlite3.Error.
    """
    if not read_only and not path.exists():
        with suppress(OSError):  # SQLite's error message is better
            make_private(path)
    mode = "ro" if read_only else "rwc"
    uri = f"file:{str(path.absolute()).replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
    if busy_ms is None:
        busy_ms = READ_BUSY_MS if read_only else BUSY_MS
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_ms / 1000)
    try:
        if read_only:
            connection.execute("PRAGMA query_only=1")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def make_durable(connection: sqlite3.Connection) -> None:
    """Turn on write-ahead logging, and make COMMIT return only once the data are on disk."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def storage_error(path: Path, doing: str, error: Exception) -> StorageError:
    """Return a StorageError with the file, the message of SQLite or the system, and a hint if there is one."""
    hint = ANOTHER_FOLDER if _closed_to_us(error) else "make room on this disk" if _full(error) else ""
    return StorageError(f"{path}: {doing} failed: {error}", hint)


def is_damage(error: Exception) -> bool:
    """Return whether the file itself is broken, and not locked, on a full disk, or inaccessible to this user."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # not from SQLite: text that is not UTF-8, a value of the wrong type
        return isinstance(error, (sqlite3.OperationalError, ValueError, TypeError))
    return code & 0xFF in _BROKEN or code in _UNREADABLE or str(error).startswith("no such ")


def make_private(path: Path) -> None:
    """Create an empty file with FILE_MODE, or give an existing file that mode.

    SQLite gives a file's companions the same mode. An existing file is not opened, because closing it would release this
    process's locks on it.
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
        close_now(handle)


def write_private(path: Path, content: bytes) -> None:
    """Replace a small file durably: readers see the old content or the new one, never a part."""
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
        close_now(handle)


def private_folder(path: Path) -> None:
    """Create a folder with FOLDER_MODE, and its missing parents; leave an existing folder as it is."""
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
    """Return whether this process may not write to the folder, or a part of the path is not a folder."""
    if isinstance(error, OSError):
        return error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CLOSED_TO_US


def _full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return no_room(error)


def no_room(error: Exception) -> bool:
    """Return whether the disk is full or rejects writes as if it were. False for a damaged file."""
    return isinstance(error, OSError) or getattr(error, "sqlite_errorcode", None) in _NO_ROOM


def is_temporary(error: BaseException) -> bool:
    """Return whether a file was unreadable only because of a lock, or missing memory or file handles."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in _TEMPORARY or code in _TEMPORARY_IO


def raise_if_temporary(error: Exception, path: Path) -> None:
    """Raise StorageError if an existing file is only temporarily unreadable; return if it is damaged or gone."""
    if is_temporary(error) and path.exists():
        raise storage_error(path, "read", error) from error


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Convert errors of SQLite and of the system to StorageError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise storage_error(path, doing, error) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything or nothing: roll back on any error, and reraise it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # the connection is unusable; closing it rolls back
        raise
