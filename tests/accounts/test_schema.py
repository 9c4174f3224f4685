"""Tables are made once, and a step that is added later is applied to what exists."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pumpwatch.accounts import AccountLedger, open_account_ledger
from pumpwatch.accounts.refusals import DamagedLedgerError, NewerLedgerError
from pumpwatch.accounts.schema import FIRST, MIGRATIONS, Migration, bring_up_to_date
from pumpwatch.accounts.sqlite_database import SqliteDatabase
from tests.accounts.ledgers import whole

LATER = Migration("notes", "CREATE TABLE notes (id {counter}, amount {amount}, at_ns {number}, facts {json})")


def test_a_later_step_is_added_and_the_older_version_refuses_it(sqlite_ledger: AccountLedger, tmp_path: Path) -> None:
    database = sqlite_ledger.database
    bring_up_to_date(database, (*MIGRATIONS, LATER))
    assert database.has_table("notes") and database.rows("SELECT name FROM ledger_migrations") == [("first",), ("notes",)]
    whole(sqlite_ledger)
    with pytest.raises(NewerLedgerError, match="it knows notes"):
        bring_up_to_date(database)


def test_a_step_that_fails_leaves_the_ledger_as_it_was(sqlite_ledger: AccountLedger) -> None:
    broken = Migration("broken", "CREATE TABLE one (a {number}); CREATE TABLE one (a {number})")
    with pytest.raises(Exception, match="already exists"):
        bring_up_to_date(sqlite_ledger.database, (FIRST, broken))
    assert not sqlite_ledger.database.has_table("one")


def test_a_ledger_that_is_only_read_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    SqliteDatabase(path).close()
    with pytest.raises(DamagedLedgerError, match="not an account ledger of this version"):
        open_account_ledger(path, read_only=True)


def test_two_that_open_a_new_ledger_at_once_make_it_once(place: str | Path) -> None:
    failed: list[BaseException] = []

    def opened() -> None:
        try:
            open_account_ledger(place).close()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=opened) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.parametrize(("query", "index"), [
    ("SELECT * FROM orders WHERE account_id = 'a' AND state = 'open'", "orders_account"),
    ("SELECT * FROM orders WHERE venue = 'v' AND symbol = 's' AND state = 'open'", "orders_symbol"),
    ("SELECT * FROM events WHERE aggregate_id = 'a' AND version > 5", "sqlite_autoindex_events_1"),
    ("SELECT * FROM events WHERE at_ns > 5", "events_time"),
    ("SELECT * FROM positions WHERE account_id = 'a'", "sqlite_autoindex_positions_1"),
    ("SELECT * FROM fills WHERE order_id = 'o'", "fills_order"),
    ("SELECT * FROM transfers WHERE account_id = 'a' AND at_ns > 5", "transfers_account"),
])
def test_what_is_asked_often_has_an_index(sqlite_ledger: AccountLedger, query: str, index: str) -> None:
    plan = " ".join(str(row[3]) for row in sqlite_ledger.database.rows(f"EXPLAIN QUERY PLAN {query}"))
    assert f"USING INDEX {index}" in plan, plan
