"""Accounts are made again page by page, one at a time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pumpwatch.accounts import AccountLedger, replay
from tests.accounts.ledgers import ACCOUNT, fund, traded


def test_pages_end_anywhere(sqlite_ledger: AccountLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "c"):
        fund(sqlite_ledger, name)
    traded(sqlite_ledger, "o1", "buy", "10", "2")
    wanted = [(found.aggregate_id, found.events) for found in replay.replays(sqlite_ledger.database)]
    assert wanted == [(ACCOUNT, 4), ("b", 2), ("c", 2), ("user-1", 1)]
    for page in (1, 2, 3):
        monkeypatch.setattr(replay, "PAGE", page)
        assert [(found.aggregate_id, found.events) for found in replay.replays(sqlite_ledger.database)] == wanted


def test_an_account_comes_out_with_all_its_rows(sqlite_ledger: AccountLedger) -> None:
    traded(sqlite_ledger, "o1", "buy", "10", "2")
    found = next(iter(replay.replays(sqlite_ledger.database)))
    assert {table: len(rows) for table, rows in found.rows().items()} == {
        "accounts": 1, "balances": 2, "orders": 1, "positions": 1, "fills": 1, "transfers": 1, "entries": 6}
    assert found.state is not None and found.state.held("USDT") == (Decimal(980), 0) and found.faults == []
