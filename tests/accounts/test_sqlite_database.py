"""A file that cannot be used is told from a busy one, and nothing of it is lost."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch.accounts import AccountLedger, open_account_ledger
from pumpwatch.accounts.refusals import ConflictError, DamagedLedgerError, NewerLedgerError
from pumpwatch.accounts.sqlite_database import SqliteDatabase
from pumpwatch.errors import EXIT_DISK, StorageError
from tests.accounts.ledgers import ACCOUNT, everything, fund, tampered, whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a ledger with one account."""
    path = tmp_path / "new folder ? % #" / "ledger.sqlite3"
    with open_account_ledger(path) as ledger:
        fund(ledger)
    return path


def test_a_ledger_is_private_and_durable(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o640 and path.parent.stat().st_mode & 0o777 == 0o750
    database = SqliteDatabase(path)
    assert database.rows("PRAGMA journal_mode") == [("wal",)] and database.rows("PRAGMA synchronous") == [(2,)]
    database.close()


def test_a_ledger_from_a_newer_version_is_refused(path: Path) -> None:
    with open_account_ledger(path) as ledger:
        tampered(ledger, "INSERT INTO ledger_migrations VALUES ('options')")
    for read_only in (False, True):
        with pytest.raises(NewerLedgerError, match="it knows options"):
            open_account_ledger(path, read_only=read_only)


@pytest.mark.parametrize("damage", ["text", "cut", "page"])
def test_a_damaged_file_is_told(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "text":
        path.write_text("this is not a database, however long it may be\n" * 100)
    elif damage == "cut":
        path.write_bytes(content[:8192])
    else:
        path.write_bytes(content[:4096] + b"\xee" * (len(content) - 4096))

    def use() -> None:
        with open_account_ledger(path) as ledger:
            ledger.transfer(ACCOUNT, Decimal(1), "", 3)

    with pytest.raises(DamagedLedgerError, match=r"ledger\.sqlite3") as found:
        use()
    assert found.value.exit_code == EXIT_DISK and found.value.hint


def test_check_tells_of_a_damaged_page(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        root, = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'transfers_account'").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096:root * 4096] = b"\xee" * 4096
    path.write_bytes(content)
    with open_account_ledger(path, read_only=True) as ledger:
        assert any(finding.name == "database" and finding.state == "fail" for finding in ledger.check())


def test_a_full_disk_changes_nothing(path: Path) -> None:
    with open_account_ledger(path) as ledger:
        before = everything(ledger)
        pages, = ledger.database.rows("PRAGMA page_count")[0]
        ledger.database.rows(f"PRAGMA max_page_count={pages}")

        def fill_it() -> None:
            with ledger.transaction():
                for number in range(500):
                    ledger.transfer(ACCOUNT, Decimal(1), "x" * 190, number)

        with pytest.raises(StorageError, match="full") as found:
            fill_it()
        assert (found.value.exit_code, found.value.hint) == (EXIT_DISK, "free space on this disk")
        assert everything(ledger) == before
        ledger.database.rows("PRAGMA max_page_count=100000")
        ledger.transfer(ACCOUNT, Decimal(1), "", 3)
        whole(ledger)


def test_a_lock_that_stays_is_told_and_one_that_goes_is_waited_for(path: Path) -> None:
    database = SqliteDatabase(path, busy_ms=20)
    ledger, other = AccountLedger(database), sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked") as found:
        ledger.transfer(ACCOUNT, Decimal(1), "", 3)
    assert "another process" in found.value.hint and len(ledger.accounts()) == 1, "it can still be read"
    other.execute("COMMIT")
    ledger.transfer(ACCOUNT, Decimal(1), "", 3)
    other.close()
    ledger.close()


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="open failed"):
        open_account_ledger(tmp_path / "none.sqlite3", read_only=True)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="open failed"):
        open_account_ledger(tmp_path / "file" / "ledger.sqlite3")
    sqlite3.connect(tmp_path / "other.sqlite3").close()
    with pytest.raises(DamagedLedgerError, match="not an account ledger"):
        open_account_ledger(tmp_path / "file", read_only=True)


def test_a_unique_value_that_is_taken_is_a_conflict(path: Path) -> None:
    database = SqliteDatabase(path)
    with pytest.raises(ConflictError, match="UNIQUE"):
        database.execute("INSERT INTO users VALUES ('user-1', 'x', 1)")
    database.close()
