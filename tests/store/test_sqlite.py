"""Errors of SQLite and of the disk are told apart, and files are private."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.sqlite import check_of, connect, is_temporary, raise_if_temporary, storage_error, transaction
from tests.store.small_journal import START_NS
from tests.trades import batch_of, catalogue_of


@pytest.mark.parametrize(("error", "way_out"), [
    (PermissionError(errno.EACCES, "Permission denied"), "set store.dir to a folder this user may write to"),
    (OSError(errno.EROFS, "Read-only file system"), "set store.dir to a folder this user may write to"),
    (OSError(errno.ENOSPC, "No space left on device"), "make room on this disk"),
    (FileNotFoundError(errno.ENOENT, "No such file or directory"), ""),
    (OSError(errno.EIO, "Input/output error"), ""),
    (ValueError("not ours to mend"), ""),
])
def test_a_disk_error_has_a_hint(error: Exception, way_out: str) -> None:
    assert storage_error(Path("data"), "open", error).hint == way_out


@pytest.mark.parametrize("name", ["BUSY", "LOCKED", "PROTOCOL", "NOMEM", "CANTOPEN", "IOERR_NOMEM", "IOERR_LOCK", "IOERR_RDLOCK",
                                  "IOERR_SHMMAP", "IOERR_SHMOPEN", "IOERR_SHMSIZE", "IOERR_SHMLOCK", "BUSY_SNAPSHOT"])
def test_a_lack_of_a_lock_of_memory_or_of_handles_is_temporary(tmp_path: Path, name: str) -> None:
    error = sqlite3.OperationalError("no")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert is_temporary(error)
    with pytest.raises(StorageError):
        raise_if_temporary(error, tmp_path)
    raise_if_temporary(error, tmp_path / "gone")


@pytest.mark.parametrize("name", ["CORRUPT", "NOTADB", "IOERR_READ", "IOERR_SHORT_READ", "FULL"])
def test_damage_and_a_full_disk_are_not_temporary(tmp_path: Path, name: str) -> None:
    error = sqlite3.DatabaseError("no")
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    assert not is_temporary(error)
    raise_if_temporary(error, tmp_path)


def test_others_cannot_read_files_and_folders_with_any_umask(tmp_path: Path) -> None:

    before = os.umask(0)
    try:
        clock = FakeClock(START_NS)
        journal = Journal(tmp_path / "data", catalogue_of(), clock, Stats())
        journal.open()
        journal.commit(batch_of(10))
        modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
        journal.close()
    finally:
        os.umask(before)
    assert {name: mode for name, mode in modes.items() if mode not in (0o640, 0o750)} == {}
    assert modes["data"] == modes["data/journal"] == 0o750
    assert any(name.endswith("-wal") for name in modes)


def test_a_row_checksum_changes_with_every_value() -> None:
    assert check_of(1, "a", None) == check_of(1, "a", None)
    assert len({check_of(1, "a"), check_of(1, "b"), check_of(2, "a"), check_of("1", "a")}) == 4


def insert_and_fail(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO a VALUES (1)")
    connection.execute("INSERT INTO nothing VALUES (1)")


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "a.sqlite")
    connection.execute("CREATE TABLE a (b)")
    with pytest.raises(sqlite3.OperationalError), transaction(connection):
        insert_and_fail(connection)
    assert connection.execute("SELECT count(*) FROM a").fetchone() == (0,) and not connection.in_transaction
    connection.close()


def test_who_only_reads_makes_no_file_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "a.sqlite", read_only=True).execute("SELECT 1 FROM sqlite_master")
    connect(tmp_path / "a.sqlite").close()
    with pytest.raises(sqlite3.OperationalError):
        connect(tmp_path / "a.sqlite", read_only=True).execute("CREATE TABLE a (b)")
