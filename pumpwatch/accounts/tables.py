"""The tables of the account ledger, and the conversion of their rows to and from records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Any

import msgspec

from pumpwatch.accounts.amounts import DIGITS, less, plain
from pumpwatch.accounts.database import Row, placeholders
from pumpwatch.accounts.records import (
    Entry,
    Event,
    Filled,
    NewOrder,
    Order,
    OrderFill,
    Payload,
    Position,
    Progress,
    StoredFill,
    Transfer,
)
from pumpwatch.accounts.refusals import DamagedLedgerError
from pumpwatch.accounts.state import AccountState

CHECK_HINT = "`pumpwatch paper check` says where"
ORDER_FACTS = ("venue", "symbol", "base", "side", "kind", "quantity", "price", "stop_price", "time_in_force", "reduce_only",
               "leverage", "margin_type", "fee_reserve", "maintenance_rate", "at_ns")
ORDER_PROGRESS = ("state", "filled", "value", "fees", "locked_asset", "locked", "reason", "version", "changed_at_ns")
POSITION_FACTS = ("side", "quantity", "cost", "entry_price", "mark_price", "liquidation_price", "margin", "margin_type",
                  "leverage", "maintenance_rate", "realised_pnl", "unrealised_pnl", "fees", "version", "changed_at_ns")
COLUMNS = {
    "users": ("user_id", "name", "created_at_ns"),
    "accounts": ("account_id", "user_id", "name", "asset", "opened_at_ns", "version"),
    "balances": ("account_id", "asset", "balance", "available", "locked"),
    "orders": ("order_id", "account_id", *ORDER_FACTS, *ORDER_PROGRESS),
    "positions": ("account_id", "venue", "symbol", *POSITION_FACTS),
    "fills": ("fill_id", "order_id", "account_id", "venue", "symbol", "side", "price", "quantity", "fee", "liquidity",
              "realised_pnl", "at_ns"),
    "transfers": ("transfer_id", "account_id", "asset", "amount", "reason", "at_ns"),
    "entries": ("account_id", "version", "number", "book", "asset", "amount"),
    "events": ("aggregate_id", "version", "kind", "at_ns", "schema", "payload"),
}
# the number of leading columns that identify a row of an account
KEYS = {"accounts": 1, "balances": 2, "orders": 1, "positions": 3, "fills": 1, "transfers": 1, "entries": 3}
AMOUNTS = {"balance", "available", "locked", "quantity", "price", "stop_price", "leverage", "fee_reserve", "maintenance_rate",
           "filled", "value", "fees", "cost", "entry_price", "mark_price", "liquidation_price", "margin", "realised_pnl",
           "unrealised_pnl", "fee", "amount"}


def insert(table: str) -> str:
    """Return the statement that adds a row to a table."""
    columns = COLUMNS[table]
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({placeholders(columns)})"


def replace_by(table: str, keys: int) -> str:
    """Return the statement that adds a row, or replaces the one with the same first `keys` columns."""
    columns = COLUMNS[table]
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns[keys:])
    return f"{insert(table)} ON CONFLICT ({', '.join(columns[:keys])}) DO UPDATE SET {changes}"


def select(table: str, rest: str = "") -> str:
    """Return the statement that reads whole rows of a table."""
    return f"SELECT {', '.join(COLUMNS[table])} FROM {table} {rest}"


def text_of(amount: Decimal) -> str:
    """Return an amount as it is stored: as text without an exponent."""
    return format(amount, "f")


def exact(value: Any) -> Decimal:
    """Return a stored amount. Raises DamagedLedgerError if it is not one."""
    try:
        found = Decimal(value)
        if found.is_finite() and abs(found.adjusted()) < 2 * DIGITS:
            return plain(found)
    except (InvalidOperation, TypeError, ValueError):
        pass
    raise DamagedLedgerError(f"the account ledger is damaged: {value!r} is stored as an amount", CHECK_HINT)


def read(table: str, row: Row) -> dict[str, Any]:
    """Return a stored row as a dict by column, with amounts as Decimals."""
    return {column: exact(value) if column in AMOUNTS and value is not None else value
            for column, value in zip(COLUMNS[table], row, strict=True)}


_order_facts, _order_progress = attrgetter(*ORDER_FACTS), attrgetter(*ORDER_PROGRESS)
_position_facts = attrgetter(*POSITION_FACTS)


def _stored(values: Iterable[Any]) -> list[Any]:
    """Return values as they are stored: booleans as 0 or 1, since the two databases have no common boolean."""
    return [format(value, "f") if value.__class__ is Decimal else int(value) if value.__class__ is bool else value
            for value in values]


def order_row(order: Order) -> Sequence[Any]:
    """Return the row of an order."""
    return (order.placed.order_id, order.account_id, *_stored(_order_facts(order.placed)),
            *_stored(_order_progress(order.progress)))


PROGRESS_UPDATE = f"UPDATE orders SET {', '.join(f'{name} = ?' for name in ORDER_PROGRESS)} WHERE order_id = ?"


def progress_row(order: Order) -> Sequence[Any]:
    """Return the values of PROGRESS_UPDATE."""
    return (*_stored(_order_progress(order.progress)), order.placed.order_id)


def order_of(row: Row) -> Order:
    """Return the order of a row."""
    found = read("orders", row)
    found["reduce_only"] = bool(found["reduce_only"])
    return Order(account_id=found["account_id"],
                 placed=NewOrder(order_id=found["order_id"], **{name: found[name] for name in ORDER_FACTS}),
                 progress=Progress(**{name: found[name] for name in ORDER_PROGRESS}))


def position_row(account_id: str, position: Position) -> Sequence[Any]:
    """Return the row of a position."""
    return (account_id, position.venue, position.symbol, *_stored(_position_facts(position)))


def position_of(row: Row) -> Position:
    """Return the position of a row."""
    found = read("positions", row)
    del found["account_id"]
    return Position(**found)


def account_row(state: AccountState) -> Sequence[Any]:
    """Return the row of an account."""
    return (state.account_id, state.opened.user_id, state.opened.name, state.asset, state.opened_at_ns, state.version)


def balance_row(state: AccountState, asset: str) -> Sequence[Any]:
    """Return the row of an asset of an account."""
    balance, locked = state.held(asset)
    return (state.account_id, asset, text_of(balance), text_of(less(balance, locked)), text_of(locked))


def fill_row(account_id: str, order: NewOrder, filled: Filled) -> Sequence[Any]:
    """Return the row of a fill."""
    fill: OrderFill = filled.fill
    return (fill.fill_id, order.order_id, account_id, order.venue, order.symbol, order.side, text_of(fill.price),
            text_of(fill.quantity), text_of(fill.fee), fill.liquidity, text_of(filled.realised_pnl), fill.at_ns)


def fill_of(row: Row) -> StoredFill:
    """Return the fill of a row."""
    return StoredFill(**read("fills", row))


def transfer_of(row: Row) -> Transfer:
    """Return the transfer of a row."""
    return Transfer(**read("transfers", row))


def entry_rows(account_id: str, version: int, entries: Iterable[Entry]) -> list[Sequence[Any]]:
    """Return the rows of an event's entries."""
    return [(account_id, version, number, entry.book, entry.asset, text_of(entry.amount)) for number, entry in enumerate(entries)]


_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Payload).decode


def event_row(event: Event) -> Sequence[Any]:
    """Return the row of an event."""
    return (event.aggregate_id, event.version, event.kind, event.at_ns, event.schema, _ENCODE(event.payload).decode())


EVENT_COLUMNS = "position, aggregate_id, version, kind, at_ns, schema, CAST(payload AS TEXT)"


def event_of(row: Row) -> Event:
    """Return the event of a row of EVENT_COLUMNS. Raises DamagedLedgerError if its payload cannot be read."""
    position, aggregate_id, version, kind, at_ns, schema, payload = row
    try:
        found = _DECODE(payload)
    except (msgspec.MsgspecError, TypeError, UnicodeError) as error:
        raise DamagedLedgerError(f"the account ledger is damaged: event {position}: {error}", CHECK_HINT) from error
    return Event(position=position, aggregate_id=aggregate_id, version=version, kind=kind, at_ns=at_ns, schema=schema,
                 payload=found)


def rows_of_event(account_id: str, event: Event, order: NewOrder | None) -> dict[str, list[Sequence[Any]]]:
    """Return the permanent rows that an event of an account adds, by table. order: the filled order, if any."""
    payload, found = event.payload, {}
    if payload.entries:
        found["entries"] = entry_rows(account_id, event.version, payload.entries)
    if payload.filled is not None and order is not None:
        found["fills"] = [fill_row(account_id, order, payload.filled)]
    if payload.transferred is not None:
        moved = payload.transferred
        found["transfers"] = [
            (moved.transfer_id, account_id, moved.asset, text_of(moved.amount), moved.reason, event.at_ns)]
    return found
