"""The records of the account ledger: orders, fills, positions, events, and the rows that queries return.

Amounts are Decimals of at most 36 digits, 18 of them decimals; times are ns since 1970, UTC; ids are text.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from pumpwatch.accounts.amounts import ONE, ZERO, less

BUY, SELL = "buy", "sell"
SIDES = (BUY, SELL)
MARKET, LIMIT, STOP_LIMIT = "market", "limit", "stop_limit"
KINDS = (MARKET, LIMIT, STOP_LIMIT)
TIMES_IN_FORCE = ("gtc", "ioc", "fok")
ISOLATED, CROSS = "isolated", "cross"
MARGIN_TYPES = (ISOLATED, CROSS)
MAKER, TAKER = "maker", "taker"
LIQUIDITIES = (MAKER, TAKER)
LONG, SHORT, FLAT = "long", "short", "flat"

# states of an order; those of OPEN_STATES may still change
WAITING, OPEN, PARTLY_FILLED = "waiting", "open", "partly_filled"
FILLED, CANCELLED, REJECTED, EXPIRED = "filled", "cancelled", "rejected", "expired"
OPEN_STATES = (WAITING, OPEN, PARTLY_FILLED)
STATES = (*OPEN_STATES, FILLED, CANCELLED, REJECTED, EXPIRED)

# books of the double entry: the account itself, and the other side of each movement
ACCOUNT, FEES, COUNTERPARTY, REALISED, WORLD = "account", "fees", "counterparty", "realised_pnl", "world"
BOOKS = (ACCOUNT, FEES, COUNTERPARTY, REALISED, WORLD)

EVENT_SCHEMA = 1  # of an event's payload
MAINTENANCE_RATE = Decimal("0.005")


def is_futures(venue: str) -> bool:
    """Return whether a venue trades perpetual contracts, as `binance.futures` does; any other venue is a spot market."""
    return venue.endswith(".futures")


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order as it was placed.

    price: of a limit or stop limit order; of a market order the worst price for which money is locked, or None to lock none.
    base: the asset that a spot order trades; empty: the symbol's name. fee_reserve: locked for fees, in addition to the price.
    maintenance_rate: maintenance margin / value of the position; it determines the liquidation price.
    """

    order_id: str
    venue: str
    symbol: str
    side: str
    kind: str
    quantity: Decimal
    at_ns: int
    price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: str = "gtc"
    reduce_only: bool = False
    leverage: Decimal = ONE
    margin_type: str = ISOLATED
    base: str = ""
    fee_reserve: Decimal = ZERO
    maintenance_rate: Decimal = MAINTENANCE_RATE


class OrderFill(msgspec.Struct, frozen=True, kw_only=True):
    """An executed part of an order. fee: in the account's asset; negative for a rebate."""

    fill_id: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: str
    at_ns: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The changing part of an order. value: the sum of price x quantity of its fills. locked: in `locked_asset`."""

    state: str
    filled: Decimal = ZERO
    value: Decimal = ZERO
    fees: Decimal = ZERO
    locked_asset: str = ""
    locked: Decimal = ZERO
    reason: str = ""
    version: int = 1
    changed_at_ns: int = 0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order of an account: as it was placed, and its progress."""

    account_id: str
    placed: NewOrder
    progress: Progress

    @property
    def remaining(self) -> Decimal:
        """Return the quantity that is not filled."""
        return less(self.placed.quantity, self.progress.filled)


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The holding of an account in one symbol of a venue; side `flat` and quantity 0 once it is closed.

    cost: price x quantity of the holding. margin: locked for it; 0 on a spot market. realised_pnl: without fees.
    liquidation_price: None on a spot market, or if the position cannot be liquidated at any price.
    """

    venue: str
    symbol: str
    side: str = FLAT
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    entry_price: Decimal = ZERO
    mark_price: Decimal = ZERO
    liquidation_price: Decimal | None = None
    margin: Decimal = ZERO
    margin_type: str = ISOLATED
    leverage: Decimal = ONE
    maintenance_rate: Decimal = MAINTENANCE_RATE
    realised_pnl: Decimal = ZERO
    unrealised_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    version: int = 0
    changed_at_ns: int = 0


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One side of a movement of money. The entries of an event sum to zero in each asset."""

    book: str
    asset: str
    amount: Decimal


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A new account."""

    user_id: str
    asset: str
    name: str = ""


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """Money moved from the world (amount > 0) or to it."""

    transfer_id: str
    asset: str
    amount: Decimal
    reason: str


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """A fill of an order, with its realised profit or loss."""

    order_id: str
    fill: OrderFill
    realised_pnl: Decimal


class Payload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The change made by an event, including the results: applying it does not depend on trading rules."""

    user_name: str | None = None
    opened: Opened | None = None
    transferred: Transferred | None = None
    placed: NewOrder | None = None
    order_id: str = ""
    progress: Progress | None = None
    filled: Filled | None = None
    position: Position | None = None
    entries: tuple[Entry, ...] = ()


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a user or an account (its aggregate). position: its place in the ledger; 0 until it is stored."""

    aggregate_id: str
    version: int
    kind: str
    at_ns: int
    payload: Payload
    schema: int = EVENT_SCHEMA
    position: int = 0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account. Its figures are in `asset`. holdings: the non-zero balances of other assets."""

    account_id: str
    user_id: str
    name: str
    asset: str
    balance: Decimal
    available: Decimal
    locked: Decimal
    version: int
    opened_at_ns: int
    holdings: Mapping[str, Decimal]


class HeldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position and its account."""

    account_id: str
    position: Position


class StoredFill(msgspec.Struct, frozen=True, kw_only=True):
    """A stored fill."""

    fill_id: str
    order_id: str
    account_id: str
    venue: str
    symbol: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: str
    realised_pnl: Decimal
    at_ns: int


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A stored transfer."""

    transfer_id: str
    account_id: str
    asset: str
    amount: Decimal
    reason: str
    at_ns: int


def builtins(row: msgspec.Struct) -> dict[str, Any]:
    """Return a record as plain data for JSON: amounts as text without an exponent, times as integers."""
    found: dict[str, Any] = _spelt(msgspec.to_builtins(row, builtin_types=[Decimal]))
    return found


def _spelt(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return {key: _spelt(inner) for key, inner in value.items()}
    return [_spelt(inner) for inner in value] if isinstance(value, (list, tuple)) else value
