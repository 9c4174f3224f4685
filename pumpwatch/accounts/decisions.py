"""The commands of the account ledger: each reads an account, and either refuses or records one event with its results."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec.structs import replace

from pumpwatch.accounts import positions
from pumpwatch.accounts.amounts import ZERO, amount, divided, less, negative, positive, share, times, total
from pumpwatch.accounts.intake import checked_fill, checked_money, checked_order, time_ns, word
from pumpwatch.accounts.records import (
    ACCOUNT,
    BUY,
    COUNTERPARTY,
    CROSS,
    FEES,
    FILLED,
    OPEN,
    OPEN_STATES,
    PARTLY_FILLED,
    REALISED,
    STOP_LIMIT,
    WAITING,
    WORLD,
    Entry,
    Event,
    Filled,
    NewOrder,
    Opened,
    Order,
    OrderFill,
    Payload,
    Position,
    Progress,
    Transferred,
    is_futures,
)
from pumpwatch.accounts.refusals import DuplicateId, InvalidValue, UnknownId, WrongState
from pumpwatch.accounts.state import AccountState
from pumpwatch.accounts.unit import Unit


def create_user(unit: Unit, user_id: str, name: str, at_ns: int) -> str:
    """Return the id of the user with this name; create the user if there is none."""
    word(name, "name")
    word(user_id, "user_id")
    if found := unit.user_of(name):
        return found
    _refuse_known(unit, "events", user_id)
    unit.add_user(Event(aggregate_id=user_id, version=1, kind="user_created", at_ns=time_ns(at_ns),
                        payload=Payload(user_name=name)))
    return user_id


def open_account(unit: Unit, account_id: str, user_id: str, asset: str, name: str, at_ns: int) -> str:
    """Open an empty account."""
    opened = Opened(user_id=user_id, asset=word(asset, "asset"), name=word(name, "name", empty=True))
    word(account_id, "account_id")
    if not unit.has("users", user_id):
        raise UnknownId(f"no user {user_id!r}")
    _refuse_known(unit, "events", account_id)
    unit.add_account(account_id, opened, time_ns(at_ns))
    return account_id


def transfer(unit: Unit, account_id: str, money: Decimal, reason: str, at_ns: int, asset: str, transfer_id: str) -> str:
    """Move money between an account and the world."""
    money, state = checked_money(money), unit.account(account_id)
    name = word(transfer_id, "transfer_id", empty=True) or f"{account_id}:{state.version + 1}"
    _refuse_known(unit, "transfers", name)
    moved = Transferred(transfer_id=name, asset=word(asset, "asset", empty=True) or state.asset, amount=money,
                        reason=word(reason, "reason", empty=True))
    unit.record(state, "transferred", time_ns(at_ns), Payload(
        transferred=moved, entries=_entries((ACCOUNT, moved.asset, money), (WORLD, moved.asset, negative(money)))))
    return name


def place_order(unit: Unit, account_id: str, order: NewOrder) -> Order:
    """Place an order and lock its maximum cost."""
    order, state = checked_order(order), unit.account(account_id)
    _refuse_known(unit, "orders", order.order_id)
    asset, locked = _to_lock(state, order)
    unit.record(state, "order_placed", order.at_ns, Payload(placed=order, order_id=order.order_id, progress=Progress(
        state=WAITING if order.kind == STOP_LIMIT else OPEN, locked_asset=asset, locked=locked, changed_at_ns=order.at_ns)))
    return state.orders[order.order_id]


def _to_lock(state: AccountState, order: NewOrder) -> tuple[str, Decimal]:
    """Return the asset and amount that an order locks. Raises WrongState if a reduce-only order cannot reduce a position."""
    value = ZERO if order.price is None else times(order.price, order.quantity)
    if not is_futures(order.venue):
        base = order.base or order.symbol
        if base == state.asset:
            raise InvalidValue(f"base: {base} is the asset that the account pays with")
        return (state.asset, total(value, order.fee_reserve)) if order.side == BUY else (base, order.quantity)
    held = state.positions.get((order.venue, order.symbol))
    if order.reduce_only:
        if held is None or not positions.against(held, order.side):
            raise WrongState(f"order {order.order_id}: reduce only, but {state.account_id} has no position that it would reduce")
        return state.asset, order.fee_reserve
    opened = share(value, positions.opening(held, order.side, order.quantity), order.quantity)
    return state.asset, total(divided(opened, order.leverage), order.fee_reserve)


def trigger_order(unit: Unit, order_id: str, at_ns: int) -> Order:
    """Open a waiting stop limit order."""
    state, order = unit.order(order_id)
    if order.progress.state != WAITING:
        raise WrongState(f"order {order_id} is {order.progress.state}, not waiting")
    return _changed(unit, state, order, "order_triggered", _next(order, at_ns, state=OPEN))


def end_order(unit: Unit, order_id: str, to: str, reason: str, at_ns: int) -> Order:
    """End an open order, and unlock the rest of its money."""
    state, order = unit.order(order_id)
    if order.progress.state not in OPEN_STATES:
        raise WrongState(f"order {order_id} is {order.progress.state} already")
    return _changed(unit, state, order, f"order_{to}",
                    _next(order, at_ns, state=to, locked=ZERO, reason=word(reason, "reason", empty=True)))


def _next(order: Order, at_ns: int, **changes: object) -> Progress:
    return replace(order.progress, version=order.progress.version + 1, changed_at_ns=time_ns(at_ns), **changes)


def _changed(unit: Unit, state: AccountState, order: Order, kind: str, progress: Progress) -> Order:
    order_id = order.placed.order_id
    unit.record(state, kind, progress.changed_at_ns, Payload(order_id=order_id, progress=progress))
    return state.orders[order_id]


def fill_order(unit: Unit, order_id: str, fill: OrderFill) -> Order:
    """Execute a part of an order."""
    fill = checked_fill(fill)
    state, order = unit.order(order_id)
    placed, before = order.placed, order.progress
    if before.state not in (OPEN, PARTLY_FILLED):
        raise WrongState(f"order {order_id} is {before.state}, it cannot be filled")
    remaining = order.remaining
    if fill.quantity > remaining:
        raise WrongState(f"order {order_id}: the fill of {fill.quantity} exceeds the {remaining} that is left of the order")
    _refuse_known(unit, "fills", fill.fill_id)
    held = state.positions.get((placed.venue, placed.symbol)) or Position(venue=placed.venue, symbol=placed.symbol)
    position, realised = positions.filled(held, placed, fill)
    value, left = times(fill.price, fill.quantity), less(remaining, fill.quantity)
    progress = _next(order, fill.at_ns, state=PARTLY_FILLED if left else FILLED, filled=total(before.filled, fill.quantity),
                     value=total(before.value, value), fees=total(before.fees, fill.fee),
                     locked=share(before.locked, left, remaining) if left else ZERO)
    payload = Payload(order_id=order_id, progress=progress, position=position,
                      filled=Filled(order_id=order_id, fill=fill, realised_pnl=realised),
                      entries=_of_fill(state.asset, placed, fill, value, realised))
    unit.record(state, "order_filled", fill.at_ns, _with_liquidation(unit, state, payload, position))
    return state.orders[order_id]


def _of_fill(asset: str, order: NewOrder, fill: OrderFill, value: Decimal, realised: Decimal) -> tuple[Entry, ...]:
    fee = fill.fee
    if is_futures(order.venue):
        return _entries((ACCOUNT, asset, less(realised, fee)), (REALISED, asset, negative(realised)), (FEES, asset, fee))
    base, paid, got = order.base or order.symbol, value, fill.quantity
    if order.side != BUY:
        paid, got = negative(paid), negative(got)
    return _entries((ACCOUNT, asset, negative(total(paid, fee))), (COUNTERPARTY, asset, paid), (FEES, asset, fee),
                    (ACCOUNT, base, got), (COUNTERPARTY, base, negative(got)))


def _entries(*parts: tuple[str, str, Decimal]) -> tuple[Entry, ...]:
    return tuple(Entry(*part) for part in parts if part[2])


def _with_liquidation(unit: Unit, state: AccountState, payload: Payload, position: Position) -> Payload:
    """Return a payload with the liquidation price of its position."""
    if not is_futures(position.venue):
        return payload
    available = ZERO
    if position.margin_type == CROSS:
        balance, locked = unit.after(state, payload).get(state.asset, state.held(state.asset))
        available = less(balance, locked)
    return replace(payload, position=positions.liquidated_at(position, available))


def _held(state: AccountState, venue: str, symbol: str) -> Position:
    found = state.positions.get((venue, symbol))
    if found is None or not found.quantity:
        raise WrongState(f"account {state.account_id} has no position in {symbol} on {venue}")
    return found


def mark_position(unit: Unit, account_id: str, venue: str, symbol: str, mark_price: Decimal, at_ns: int) -> Position:
    """Value a position at a price."""
    price, state = positive(mark_price, "mark_price"), unit.account(account_id)
    position = positions.marked(_held(state, venue, symbol), price, time_ns(at_ns))
    unit.record(state, "position_marked", at_ns, _with_liquidation(unit, state, Payload(position=position), position))
    return state.positions[venue, symbol]


def liquidate_position(unit: Unit, account_id: str, venue: str, symbol: str, price: Decimal, fee: Decimal,
                       at_ns: int) -> Position:
    """Close a position at a price; the counterparty bears the loss beyond its margin."""
    price, fee, state = positive(price, "price"), amount(fee, "fee"), unit.account(account_id)
    held = _held(state, venue, symbol)
    if not is_futures(venue):
        raise WrongState(f"{venue}: a spot position cannot be liquidated")
    position, realised = positions.closed(held, price, fee, time_ns(at_ns))
    cover, asset = held.margin, state.asset
    if held.margin_type == CROSS:
        balance, locked = state.held(asset)
        cover = total(cover, less(balance, locked))
    result = less(realised, fee)
    kept = max(result, negative(cover))
    entries = _entries((ACCOUNT, asset, kept), (REALISED, asset, negative(realised)), (FEES, asset, fee),
                       (COUNTERPARTY, asset, less(result, kept)))
    unit.record(state, "position_liquidated", at_ns, Payload(position=position, entries=entries))
    return position


def _refuse_known(unit: Unit, table: str, id_: str) -> None:
    if unit.has(table, id_):
        raise DuplicateId(f"{id_!r} exists already")


def sums(entries: Iterable[Entry]) -> dict[str, Decimal]:
    """Return the sum of entries in each asset, which is zero for the entries of a valid event."""
    found: dict[str, Decimal] = {}
    for entry in entries:
        found[entry.asset] = total(found.get(entry.asset, ZERO), entry.amount)
    return found
