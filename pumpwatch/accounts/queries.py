"""Queries of the account ledger: they return rows as records, and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pumpwatch.accounts import tables
from pumpwatch.accounts.amounts import ZERO
from pumpwatch.accounts.database import Database, Row
from pumpwatch.accounts.records import Account, Event, HeldPosition, Order, StoredFill, Transfer


def _where(**wanted: Any) -> tuple[str, list[Any]]:
    chosen = {name: value for name, value in wanted.items() if value is not None}
    return f"WHERE {' AND '.join(f'{name} = ?' for name in chosen)}" if chosen else "", list(chosen.values())


def _last(database: Database, table: str, wanted: tuple[str, Sequence[Any]], order: Sequence[str],
          limit: int | None) -> list[Row]:
    """Return rows in order; with a limit, the last ones."""
    where, values = wanted
    if limit is None:
        return database.rows(tables.select(table, f"{where} ORDER BY {', '.join(order)}"), values)
    backwards = ", ".join(f"{column} DESC" for column in order)
    return database.rows(tables.select(table, f"{where} ORDER BY {backwards} LIMIT ?"), [*values, limit])[::-1]


def accounts(database: Database, account_id: str | None, user_id: str | None) -> list[Account]:
    """Return accounts with their balances, oldest first."""
    where, values = _where(account_id=account_id, user_id=user_id)
    with database.snapshot():
        rows = database.rows(tables.select("accounts", f"{where} ORDER BY opened_at_ns, account_id"), values)
        held: dict[str, dict[str, tuple[Decimal, Decimal, Decimal]]] = {}
        only, of = _where(account_id=account_id)
        for row in database.rows(tables.select("balances", f"{only} ORDER BY asset"), of):
            found = tables.read("balances", row)
            held.setdefault(found["account_id"], {})[found["asset"]] = (found["balance"], found["available"], found["locked"])
    return [_account(row, held.get(row[0], {})) for row in rows]


def _account(row: Row, held: dict[str, tuple[Decimal, Decimal, Decimal]]) -> Account:
    found = tables.read("accounts", row)
    balance, available, locked = held.pop(found["asset"], (ZERO, ZERO, ZERO))
    return Account(**found, balance=balance, available=available, locked=locked,
                   holdings={asset: figures[0] for asset, figures in held.items() if figures[0]})


def orders(database: Database, account_id: str | None, state: str | None, venue: str | None, symbol: str | None,
           limit: int | None) -> list[Order]:
    """Return orders, oldest first."""
    wanted = _where(account_id=account_id, state=state, venue=venue, symbol=symbol)
    return [tables.order_of(row) for row in _last(database, "orders", wanted, ("at_ns", "order_id"), limit)]


def positions(database: Database, account_id: str | None, flat: bool) -> list[HeldPosition]:
    """Return positions by account, venue and symbol."""
    found = [HeldPosition(account_id=row[0], position=tables.position_of(row)) for row in
             _last(database, "positions", _where(account_id=account_id), ("account_id", "venue", "symbol"), None)]
    return [held for held in found if flat or held.position.quantity]


def fills(database: Database, account_id: str | None, order_id: str | None, limit: int | None) -> list[StoredFill]:
    """Return fills, oldest first."""
    wanted = _where(account_id=account_id, order_id=order_id)
    return [tables.fill_of(row) for row in _last(database, "fills", wanted, ("at_ns", "fill_id"), limit)]


def transfers(database: Database, account_id: str | None, limit: int | None) -> list[Transfer]:
    """Return transfers, oldest first."""
    wanted = _where(account_id=account_id)
    return [tables.transfer_of(row) for row in _last(database, "transfers", wanted, ("at_ns", "transfer_id"), limit)]


def events(database: Database, aggregate_id: str | None, after: int, limit: int) -> list[Event]:
    """Return events after a position, in order."""
    where, values = _where(aggregate_id=aggregate_id)
    where = f"{where} AND" if where else "WHERE"
    statement = f"SELECT {tables.EVENT_COLUMNS} FROM events {where} position > ? ORDER BY position LIMIT ?"
    return [tables.event_of(row) for row in database.rows(statement, [*values, after, limit])]
