"""Rebuild accounts from their events alone, one at a time, so that memory holds only one account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pumpwatch.accounts import tables
from pumpwatch.accounts.database import Database
from pumpwatch.accounts.decisions import sums
from pumpwatch.accounts.records import EVENT_SCHEMA, Event
from pumpwatch.accounts.refusals import DamagedLedgerError, InvalidValue
from pumpwatch.accounts.state import AccountState

PAGE = 2000  # events that are read at once
NEXT = (f"SELECT {tables.EVENT_COLUMNS} FROM events WHERE (aggregate_id, version) > (?, ?)"
        " ORDER BY aggregate_id, version LIMIT ?")


class Replay:
    """A user or account as its events determine it. faults: (subject of a finding, what is wrong with the events)."""

    def __init__(self, aggregate_id: str) -> None:
        self.aggregate_id = aggregate_id
        self.user: Sequence[Any] | None = None  # its row
        self.state: AccountState | None = None
        self.added: dict[str, list[Sequence[Any]]] = {"fills": [], "transfers": [], "entries": []}
        self.events = 0
        self.faults: list[tuple[str, str]] = []
        self.broken = False  # an event could not be applied, so later ones are not applied either

    def apply(self, row: Sequence[Any]) -> None:
        """Apply the next event."""
        self.events += 1
        if row[2] != self.events:
            self.faults.append(("versions", f"{self.aggregate_id}: version {row[2]} follows {self.events - 1}"))
            self.events = row[2]
        if row[5] > EVENT_SCHEMA:
            self._break(f"{self.aggregate_id}, version {row[2]}: its schema {row[5]} is newer than {EVENT_SCHEMA}")
        if self.broken:
            return
        try:
            self._apply(tables.event_of(tuple(row)))
        except (DamagedLedgerError, InvalidValue, LookupError, AssertionError, TypeError) as error:
            self._break(f"{self.aggregate_id}, version {row[2]}: cannot be applied: {error}")

    def _break(self, words: str) -> None:
        if not self.broken:
            self.faults.append(("events", words))
        self.broken = True

    def _apply(self, event: Event) -> None:
        payload = event.payload
        for asset, left in sums(payload.entries).items():
            if left:
                self.faults.append(("entries", f"{self.aggregate_id}, version {event.version}: {left:f} {asset} left over"))
        if payload.user_name is not None:
            self.user = (event.aggregate_id, payload.user_name, event.at_ns)
            return
        if payload.opened is not None:
            self.state = AccountState(event.aggregate_id, payload.opened, event.at_ns)
        if self.state is None:
            raise LookupError("its account was not opened")
        self.state.apply(event, self.state.after(payload))
        order = self.state.orders[payload.filled.order_id].placed if payload.filled is not None else None
        for table, rows in tables.rows_of_event(event.aggregate_id, event, order).items():
            self.added[table].extend(rows)

    def rows(self) -> dict[str, list[Sequence[Any]]]:
        """Return every row that the tables should have for this account."""
        state = self.state
        if state is None:
            return {}
        return {
            "accounts": [tables.account_row(state)],
            "balances": [tables.balance_row(state, asset) for asset in {state.asset: None, **state.balances}],
            "orders": [tables.order_row(order) for order in state.orders.values()],
            "positions": [tables.position_row(state.account_id, position) for position in state.positions.values()],
            **self.added,
        }


def replays(database: Database) -> Iterator[Replay]:
    """Yield every user and account of a ledger, sorted by id."""
    current: Replay | None = None
    after: tuple[str, int] = ("", 0)
    while rows := database.rows(NEXT, [*after, PAGE]):
        for row in rows:
            if current is None or row[1] != current.aggregate_id:
                if current is not None:
                    yield current
                current = Replay(row[1])
            current.apply(row)
        after = (rows[-1][1], rows[-1][2])
    if current is not None:
        yield current
