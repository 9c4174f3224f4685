"""A ledger that was tampered with is told from a whole one, and is made whole again from its events."""

from __future__ import annotations

import pytest

from pumpwatch.accounts import AccountLedger
from pumpwatch.accounts.refusals import DamagedLedgerError
from tests.accounts.ledgers import FUTURES, everything, failures, fund, order, tampered, traded, whole


@pytest.fixture
def used(sqlite_ledger: AccountLedger) -> AccountLedger:
    """A ledger with an order of each market, a position and a fill."""
    fund(sqlite_ledger, "other")
    traded(sqlite_ledger, "o1", "buy", "10", "2", "0.1")
    traded(sqlite_ledger, "o2", "sell", "10", "2", "0.1", venue=FUTURES)
    sqlite_ledger.place_order("other", order("o3"))
    return sqlite_ledger


@pytest.mark.parametrize(("statement", "said"), [
    ("UPDATE balances SET balance = '981' WHERE asset = 'USDT' AND account_id = 'acc'", "is not the sum of its entries"),
    ("UPDATE balances SET available = '1' WHERE asset = 'USDT' AND account_id = 'acc'", "available and"),
    ("DELETE FROM balances WHERE asset = 'USDT' AND account_id = 'acc'", "but no balance in that asset"),
    ("UPDATE entries SET amount = '5' WHERE number = 0 AND version = 2", "projections: entries"),
    ("UPDATE orders SET filled = '9' WHERE order_id = 'o1'", "orders: o1 filled is 9, its events say 10"),
    ("DELETE FROM fills WHERE order_id = 'o1'", "fills: fill-o1 is missing"),
    ("UPDATE positions SET cost = 'many'", "'many' is stored as an amount"),
    ("UPDATE balances SET balance = 'many' WHERE account_id = 'acc'", "balances of acc: the account ledger is damaged"),
    ("UPDATE accounts SET version = 99 WHERE account_id = 'acc'", "version is 99"),
    ("UPDATE users SET name = 'thief'", "users: user-1 differs"),
    ("INSERT INTO transfers VALUES ('t', 'ghost', 'USDT', '5', '', 1)", "transfers: 1 rows belong to no event"),
    ("UPDATE transfers SET account_id = 'other' WHERE account_id = 'acc'", "comes from no event"),
])
def test_a_row_that_its_events_do_not_make_is_found_and_made_again(used: AccountLedger, statement: str, said: str) -> None:
    before = everything(used)
    tampered(used, statement)
    assert any(said in failure for failure in failures(used)), failures(used)
    used.rebuild()
    assert everything(used) == before
    whole(used)


@pytest.mark.parametrize("table", ["balances", "positions", "fills"])
def test_an_amount_that_cannot_be_read_is_one_fault_and_no_row_counts_as_unknown(used: AccountLedger, table: str) -> None:
    column = {"balances": "balance", "positions": "cost", "fills": "price"}[table]
    tampered(used, f"UPDATE {table} SET {column} = 'many' WHERE account_id = 'acc'")
    assert [failure for failure in failures(used) if not failure.startswith(f"projections: {table} of acc: ")] == []


@pytest.mark.parametrize(("statement", "said"), [
    ("DELETE FROM events WHERE aggregate_id = 'acc' AND version = 3", "versions: acc: version 4 follows 2"),
    ("UPDATE events SET payload = '{' WHERE aggregate_id = 'acc' AND version = 3", "events: acc, version 3: cannot be applied"),
    ("UPDATE events SET payload = '{}' WHERE aggregate_id = 'acc' AND version = 1", "its account was not opened"),
    ("UPDATE events SET payload = replace(payload, '\"-1000\"', '\"-999\"') WHERE aggregate_id = 'acc' AND version = 2",
     "entries: acc, version 2: 1 USDT left over"),
    ("UPDATE events SET schema = 2 WHERE aggregate_id = 'acc' AND version = 4", "its schema 2 is newer than 1"),
])
def test_an_event_that_cannot_be_is_found(used: AccountLedger, statement: str, said: str) -> None:
    tampered(used, statement)
    assert any(said in failure for failure in failures(used)), failures(used)


def test_events_that_are_damaged_make_nothing_again(used: AccountLedger) -> None:
    tampered(used, "UPDATE events SET payload = '{' WHERE aggregate_id = 'acc' AND version = 3")
    before = used.accounts()
    with pytest.raises(DamagedLedgerError, match="cannot be rebuilt"):
        used.rebuild()
    assert used.accounts() == before


def test_many_faults_are_counted(used: AccountLedger) -> None:
    tampered(used, "UPDATE entries SET amount = '7'")
    assert any(failure.startswith("projections: and ") for failure in failures(used))


def test_check_sees_one_state_while_another_writes(used: AccountLedger) -> None:
    with used.transaction():
        used.cancel_order("o3", "", 50)
        whole(used)
    whole(used)
