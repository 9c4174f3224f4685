"""Fixtures of the account ledger."""

from __future__ import annotations

from tests.accounts.ledgers import ledger, ledger_database, place, sqlite_ledger

__all__ = ["ledger", "ledger_database", "place", "sqlite_ledger"]
