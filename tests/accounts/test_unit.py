"""A transaction is read once and written once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.accounts import AccountLedger, ConflictError, DuplicateId, UnknownId, open_account_ledger
from pumpwatch.accounts.unit import Unit
from tests.accounts.ledgers import ACCOUNT, figures, fill, fund, order, traded, whole


def test_an_account_is_read_once(sqlite_ledger: AccountLedger) -> None:
    unit = Unit(sqlite_ledger.database)
    assert unit.account(ACCOUNT) is unit.account(ACCOUNT) and unit.account(ACCOUNT).held("USDT") == (1000, 0)
    with pytest.raises(UnknownId, match="no account 'nobody'"):
        unit.account("nobody")
    unit.commit()  # of nothing
    assert sqlite_ledger.accounts()[0].version == 2


def test_an_id_that_is_stored_refuses_the_whole_transaction(sqlite_ledger: AccountLedger) -> None:
    traded(sqlite_ledger, "o1", "buy", "10", "2")

    def again() -> None:
        with sqlite_ledger.transaction():
            sqlite_ledger.transfer(ACCOUNT, Decimal(1), "", 3)
            sqlite_ledger.place_order(ACCOUNT, order("o1"))

    with pytest.raises(DuplicateId, match="orders: an id exists already"):
        again()
    assert figures(sqlite_ledger)[0] == 980
    whole(sqlite_ledger)


def test_after_a_conflict_that_was_caught_nothing_is_committed(sqlite_ledger: AccountLedger) -> None:
    path = sqlite_ledger.database.path  # type: ignore[attr-defined]

    def stubborn() -> None:
        with open_account_ledger(path) as other, sqlite_ledger.transaction():
            sqlite_ledger.transfer(ACCOUNT, Decimal(1), "", 3)
            other.transfer(ACCOUNT, Decimal(1), "", 3)
            with pytest.raises(ConflictError):
                sqlite_ledger.accounts()
            sqlite_ledger.transfer(ACCOUNT, Decimal(1), "", 3)

    with pytest.raises(ConflictError):
        stubborn()
    assert figures(sqlite_ledger)[0] == 1001


def test_an_order_that_was_placed_after_its_account_was_read_is_a_conflict(sqlite_ledger: AccountLedger) -> None:
    path = sqlite_ledger.database.path  # type: ignore[attr-defined]

    def late() -> None:
        with open_account_ledger(path) as other, sqlite_ledger.transaction():
            sqlite_ledger.transfer(ACCOUNT, Decimal(1), "", 3)
            other.place_order(ACCOUNT, order("o1"))
            sqlite_ledger.fill_order("o1", fill())

    with pytest.raises(ConflictError):
        late()
    whole(sqlite_ledger)


def test_several_accounts_are_committed_together(sqlite_ledger: AccountLedger) -> None:
    with sqlite_ledger.transaction():
        fund(sqlite_ledger, "second", "5")
        sqlite_ledger.transfer(ACCOUNT, Decimal(-5), "to second", 3)
        assert [account.balance for account in sqlite_ledger.accounts()] == [995, 5]
    whole(sqlite_ledger)
