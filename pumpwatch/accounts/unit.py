"""One transaction of the account ledger: accounts are read when first needed, changed in memory, and written together.

Locking is optimistic: writing compares the accounts' versions with those that were read. If one has changed, another writer was
first, and the transaction conflicts. An account's version is read before its parts, so a mix of two versions is always detected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pumpwatch.accounts import tables
from pumpwatch.accounts.amounts import less
from pumpwatch.accounts.database import Database, conflict
from pumpwatch.accounts.records import OPEN_STATES, Event, Opened, Order, Payload
from pumpwatch.accounts.refusals import ConflictError, DuplicateId, Overdraft, UnknownId
from pumpwatch.accounts.state import AccountState, Held

ACCOUNT_UPDATE = "UPDATE accounts SET version = ? WHERE account_id = ? AND version = ?"
OPEN_ORDERS = f"WHERE account_id = ? AND state IN ({', '.join(repr(state) for state in OPEN_STATES)})"
# written in this order: a user before its accounts
ADDED = ("users", "accounts", "orders", "fills", "transfers", "entries", "events")
KEY_OF = {"users": "user_id", "accounts": "account_id", "events": "aggregate_id"}
OF_CALLERS = ("orders", "fills", "transfers")  # tables whose ids are given by callers


class Unit:
    """A transaction. All changes of accounts go through `record`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._accounts: dict[str, AccountState] = {}
        self._home: dict[str, str] = {}  # order id -> account id
        self._users: dict[str, str] = {}  # name -> id of users that this transaction creates
        self._new: dict[str, list[Sequence[Any]]] = {table: [] for table in ADDED}
        self._ids: set[tuple[str, str]] = set()  # (table, id) that this transaction adds
        self._began = False
        self._failed: BaseException | None = None

    # reads

    def account(self, account_id: str) -> AccountState:
        """Return an account. Raises UnknownId."""
        found = self._accounts.get(account_id)
        if found is None:
            found = self._accounts[account_id] = self._load(account_id)
        return found

    def _load(self, account_id: str) -> AccountState:
        rows = self.database.rows(tables.select("accounts", "WHERE account_id = ?"), [account_id])
        if not rows:
            raise UnknownId(f"no account {account_id!r}", "`pumpwatch paper accounts` shows those that exist")
        _, user_id, name, asset, opened_at_ns, version = rows[0]
        state = AccountState(account_id, Opened(user_id=user_id, asset=asset, name=name), opened_at_ns, version)
        for row in self.database.rows(tables.select("balances", "WHERE account_id = ?"), [account_id]):
            found = tables.read("balances", row)
            state.balances[found["asset"]] = (found["balance"], found["locked"])
        for row in self.database.rows(tables.select("orders", OPEN_ORDERS), [account_id]):
            order = tables.order_of(row)
            state.orders[order.placed.order_id] = order
            self._home[order.placed.order_id] = account_id
        for row in self.database.rows(tables.select("positions", "WHERE account_id = ?"), [account_id]):
            position = tables.position_of(row)
            state.positions[position.venue, position.symbol] = position
        return state

    def order(self, order_id: str) -> tuple[AccountState, Order]:
        """Return an order and its account. Raises UnknownId."""
        home = self._home.get(order_id)
        if home is not None:
            state = self.account(home)
            return state, state.orders[order_id]
        rows = self.database.rows(tables.select("orders", "WHERE order_id = ?"), [order_id])
        if not rows:
            raise UnknownId(f"no order {order_id!r}", "`pumpwatch paper orders` shows those that exist")
        order = tables.order_of(rows[0])
        state = self.account(order.account_id)
        if order_id in state.orders:
            return state, state.orders[order_id]
        if order.progress.state in OPEN_STATES:  # placed after the account was read
            raise conflict()
        return state, order

    def user_of(self, name: str) -> str | None:
        """Return the id of the user with this name; None if there is none."""
        rows = self.database.rows("SELECT user_id FROM users WHERE name = ?", [name])
        return self._users.get(name) or (str(rows[0][0]) if rows else None)

    def has(self, table: str, id_: str) -> bool:
        """Return whether this transaction adds a row with this id, or the database has one.

        For tables OF_CALLERS the database is not queried: writing detects a duplicate id, and refuses the transaction.
        """
        return (table, id_) in self._ids or (table not in OF_CALLERS and bool(
            self.database.rows(f"SELECT 1 FROM {table} WHERE {KEY_OF[table]} = ?", [id_])))

    # changes

    def add_user(self, event: Event) -> None:
        """Record the event of a new user."""
        self._raise_if_failed()
        assert event.payload.user_name is not None
        self._users[event.payload.user_name] = event.aggregate_id
        self._add("users", (event.aggregate_id, event.payload.user_name, event.at_ns), event.aggregate_id)
        self._add("events", tables.event_row(event), event.aggregate_id)

    def add_account(self, account_id: str, opened: Opened, at_ns: int) -> None:
        """Record the event of a new account."""
        self._accounts[account_id] = AccountState(account_id, opened, at_ns)
        self._ids.add(("accounts", account_id))
        self.record(self._accounts[account_id], "account_opened", at_ns, Payload(opened=opened))

    def after(self, state: AccountState, payload: Payload) -> dict[str, Held]:
        """Return the balances after an event. Raises Overdraft if one would be below its locked amount."""
        found = state.after(payload)
        for asset, (balance, locked) in found.items():
            if balance < locked or locked < 0 or balance < 0:
                before = state.held(asset)
                raise Overdraft(f"account {state.account_id}: {less(*before)} {asset} available,"
                                f" {less(locked, balance)} too few")
        return found

    def record(self, state: AccountState, kind: str, at_ns: int, payload: Payload) -> None:
        """Append an event of an account and apply it. Raises Overdraft, InvalidValue; then nothing is changed."""
        self._raise_if_failed()
        after = self.after(state, payload)
        event = Event(aggregate_id=state.account_id, version=state.version + 1, kind=kind, at_ns=at_ns, payload=payload)
        state.apply(event, after)
        if payload.placed is not None:
            self._home[payload.placed.order_id] = state.account_id
            self._ids.add(("orders", payload.placed.order_id))
        order = state.orders[payload.filled.order_id].placed if payload.filled is not None else None
        if payload.filled is not None:
            self._ids.add(("fills", payload.filled.fill.fill_id))
        if payload.transferred is not None:
            self._ids.add(("transfers", payload.transferred.transfer_id))
        for table, rows in tables.rows_of_event(state.account_id, event, order).items():
            self._new[table].extend(rows)
        self._add("events", tables.event_row(event), state.account_id)

    def _add(self, table: str, row: Sequence[Any], id_: str) -> None:
        self._new[table].append(row)
        self._ids.add((table, id_))

    def _raise_if_failed(self) -> None:
        if self._failed is not None:
            raise self._failed

    # writing

    def flush(self) -> None:
        """Write the recorded changes to the open transaction. Raises ConflictError; then only `roll_back` is possible."""
        self._raise_if_failed()
        changed = [state for _, state in sorted(self._accounts.items()) if state.version != state.stored_version]
        if not changed and not any(self._new.values()):
            return
        try:
            if not self._began:
                self.database.begin()
                self._began = True
            self._write(changed)
        except BaseException as error:
            self._failed = error
            raise
        for state in changed:
            state.is_stored()
        for rows in self._new.values():
            rows.clear()

    def _write(self, changed: Sequence[AccountState]) -> None:
        many = self.database.many
        old = [state for state in changed if state.stored_version]
        if old and many(ACCOUNT_UPDATE, [(s.version, s.account_id, s.stored_version) for s in old]) != len(old):
            raise conflict()
        self._new["accounts"] = [tables.account_row(state) for state in changed if not state.stored_version]
        self._new["orders"] = [tables.order_row(state.orders[name]) for state in changed for name in state.new_orders]
        for table in ADDED:
            if self._new[table]:
                self._insert(table)
        for statement, rows in (
            (tables.PROGRESS_UPDATE, [tables.progress_row(s.orders[name]) for s in changed for name in s.touched_orders]),
            (tables.replace_by("positions", 3), [tables.position_row(s.account_id, s.positions[key])
                                                 for s in changed for key in s.touched_positions]),
            (tables.replace_by("balances", 2), [tables.balance_row(s, asset) for s in changed for asset in s.touched_balances]),
        ):
            if rows:
                many(statement, rows)

    def _insert(self, table: str) -> None:
        try:
            self.database.many(tables.insert(table), self._new[table])
        except ConflictError as error:
            if table in OF_CALLERS:  # a retry would add the same id
                raise DuplicateId(f"{table}: an id exists already: {error.message}") from error
            raise

    def commit(self) -> None:
        """Write and commit."""
        self.flush()
        if self._began:
            self.database.commit()

    def roll_back(self) -> None:
        """Undo the written changes."""
        self.database.roll_back()
