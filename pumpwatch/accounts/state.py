"""An account in memory: its balances, orders and positions, as its events determine them.

An event contains its results, so applying it only copies and adds. The same code applies a new event and rebuilds from old ones.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from pumpwatch.accounts.amounts import ZERO, less, total
from pumpwatch.accounts.records import ACCOUNT, Event, Opened, Order, Payload, Position

Held = tuple[Decimal, Decimal]  # (balance, locked) of an asset
NOTHING: Held = (ZERO, ZERO)


class AccountState:
    """One account. stored_version: the version in the database, 0 if it is not stored. touched_*: changes not stored yet."""

    def __init__(self, account_id: str, opened: Opened, opened_at_ns: int, version: int = 0) -> None:
        self.account_id, self.opened, self.opened_at_ns = account_id, opened, opened_at_ns
        self.version = self.stored_version = version
        self.balances: dict[str, Held] = {}
        self.orders: dict[str, Order] = {}
        self.positions: dict[tuple[str, str], Position] = {}
        self.new_orders: dict[str, None] = {}  # dicts as sets that keep their order
        self.touched_orders: dict[str, None] = {}
        self.touched_positions: dict[tuple[str, str], None] = {}
        self.touched_balances: dict[str, None] = {opened.asset: None} if version == 0 else {}

    @property
    def asset(self) -> str:
        """Return the asset with which the account pays."""
        return self.opened.asset

    def held(self, asset: str) -> Held:
        """Return (balance, locked) of an asset."""
        return self.balances.get(asset, NOTHING)

    def after(self, payload: Payload) -> dict[str, Held]:
        """Return (balance, locked) of each asset that an event would change. Raises InvalidValue for amounts out of range."""
        found: dict[str, Held] = {}
        for entry in payload.entries:
            if entry.book == ACCOUNT:
                balance, locked = found.get(entry.asset) or self.held(entry.asset)
                found[entry.asset] = (total(balance, entry.amount), locked)
        progress, position = payload.progress, payload.position
        if progress is not None:
            self._lock(found, progress.locked_asset, progress.locked,
                       ZERO if payload.placed is not None else self.orders[payload.order_id].progress.locked)
        if position is not None:
            held = self.positions.get((position.venue, position.symbol))
            self._lock(found, self.asset, position.margin, held.margin if held else ZERO)
        return found

    def _lock(self, found: dict[str, Held], asset: str, now: Decimal, before: Decimal) -> None:
        if now != before:
            balance, locked = found.get(asset) or self.held(asset)
            found[asset] = (balance, total(locked, less(now, before)))

    def apply(self, event: Event, after: dict[str, Held]) -> None:
        """Apply an event. after: the result of the method `after` for it."""
        payload = event.payload
        for asset, held in after.items():
            self.balances[asset] = held
            self.touched_balances[asset] = None
        if payload.progress is not None:
            self._order_changed(payload)
        if payload.position is not None:
            key = payload.position.venue, payload.position.symbol
            self.positions[key] = payload.position
            self.touched_positions[key] = None
        self.version = event.version

    def _order_changed(self, payload: Payload) -> None:
        assert payload.progress is not None
        if payload.placed is not None:
            order_id = payload.placed.order_id
            self.orders[order_id] = Order(account_id=self.account_id, placed=payload.placed, progress=payload.progress)
            self.new_orders[order_id] = None
            return
        order_id = payload.order_id
        self.orders[order_id] = replace(self.orders[order_id], progress=payload.progress)
        if order_id not in self.new_orders:
            self.touched_orders[order_id] = None

    def is_stored(self) -> None:
        """Mark all changes as stored."""
        self.stored_version = self.version
        for touched in (self.new_orders, self.touched_orders, self.touched_balances):
            touched.clear()
        self.touched_positions.clear()
