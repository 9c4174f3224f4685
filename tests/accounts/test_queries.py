"""Queries that find nothing, and those that end at their limit."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from pumpwatch.accounts import AccountLedger, open_account_ledger
from pumpwatch.accounts.refusals import DamagedLedgerError
from tests.accounts.ledgers import ACCOUNT, everything, fund, tampered, traded


def test_a_new_ledger_is_empty(tmp_path: Path) -> None:
    with open_account_ledger(tmp_path / "ledger.sqlite3") as ledger:
        assert everything(ledger) == [[]] * 6
        assert all(finding.state == "ok" for finding in ledger.check()) and ledger.rebuild() == 0


def test_limits_keep_the_last_rows_in_order(sqlite_ledger: AccountLedger) -> None:
    for number in range(3):
        sqlite_ledger.transfer(ACCOUNT, Decimal(number + 1), "", number + 10)
        traded(sqlite_ledger, f"o{number}", "buy", "1", "1")
    assert [found.amount for found in sqlite_ledger.transfers(ACCOUNT, limit=2)] == [2, 3]
    assert [found.order_id for found in sqlite_ledger.fills(limit=2)] == ["o1", "o2"]
    assert [found.fill_id for found in sqlite_ledger.fills(order_id="o1")] == ["fill-o1"]
    fund(sqlite_ledger, "poor", "0.5")
    assert [found.balance for found in sqlite_ledger.accounts("poor")] == [Decimal("0.5")] and sqlite_ledger.fills("poor") == []


def test_a_value_that_is_none_is_damage(sqlite_ledger: AccountLedger) -> None:
    tampered(sqlite_ledger, "UPDATE balances SET locked = 'some'")
    with pytest.raises(DamagedLedgerError, match="'some' is stored as an amount"):
        sqlite_ledger.accounts()
