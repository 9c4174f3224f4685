"""The checks of a command's values: words, times, orders and fills, before the ledger is read."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from msgspec.structs import replace

from pumpwatch.accounts.amounts import ONE, ZERO, amount, not_negative, positive
from pumpwatch.accounts.records import (
    BUY,
    KINDS,
    LIMIT,
    LIQUIDITIES,
    MARGIN_TYPES,
    MARKET,
    SIDES,
    STOP_LIMIT,
    TIMES_IN_FORCE,
    NewOrder,
    OrderFill,
    is_futures,
)
from pumpwatch.accounts.refusals import InvalidValue

LONGEST = 200  # characters of an id, a name or a reason
LAST_NS = 2**63 - 1
HIGHEST_LEVERAGE = Decimal(1000)


def word(value: object, name: str, *, empty: bool = False) -> str:
    """Return a text that every database accepts. Raises InvalidValue."""
    if not isinstance(value, str):
        raise InvalidValue(f"{name}: {value!r} is not text")
    if not value and not empty:
        raise InvalidValue(f"{name} is empty")
    if len(value) > LONGEST:
        raise InvalidValue(f"{name}: longer than {LONGEST} characters")
    if not value.isprintable():
        raise InvalidValue(f"{name}: {value!r} is not printable")
    return value


def one_of(value: str, known: Collection[str], name: str) -> None:
    """Raise InvalidValue unless the value is a known word."""
    if value not in known:
        raise InvalidValue(f"{name}: {value!r} is not known", f"known: {', '.join(known)}")


def time_ns(value: object) -> int:
    """Return a time in ns since 1970. Raises InvalidValue."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LAST_NS:
        raise InvalidValue(f"at_ns: {value!r} is not a time in ns since 1970")
    return value


def checked_order(order: NewOrder) -> NewOrder:
    """Return an order with its amounts in canonical form. Raises InvalidValue, which names the field."""
    for name in ("order_id", "venue", "symbol"):
        word(getattr(order, name), name)
    word(order.base, "base", empty=True)
    one_of(order.side, SIDES, "side")
    one_of(order.kind, KINDS, "kind")
    one_of(order.time_in_force, TIMES_IN_FORCE, "time_in_force")
    one_of(order.margin_type, MARGIN_TYPES, "margin_type")
    time_ns(order.at_ns)
    price = None if order.price is None else positive(order.price, "price")
    stop_price = None if order.stop_price is None else positive(order.stop_price, "stop_price")
    if price is None and order.kind != MARKET:
        raise InvalidValue(f"price: a {order.kind} order needs one")
    if (stop_price is None) == (order.kind == STOP_LIMIT):
        raise InvalidValue(f"stop_price: a {order.kind} order {'needs one' if order.kind == STOP_LIMIT else 'has none'}")
    leverage, rate = positive(order.leverage, "leverage"), not_negative(order.maintenance_rate, "maintenance_rate")
    if not ONE <= leverage <= HIGHEST_LEVERAGE:
        raise InvalidValue(f"leverage: {leverage} is not between 1 and {HIGHEST_LEVERAGE}")
    if rate >= ONE:
        raise InvalidValue(f"maintenance_rate: {rate} is not below 1")
    if not is_futures(order.venue) and (leverage != ONE or (order.reduce_only and order.side == BUY)):
        raise InvalidValue(f"{order.venue}: a spot order has no leverage, and a spot purchase cannot be reduce only")
    if order.time_in_force != "gtc" and order.kind not in (MARKET, LIMIT):
        raise InvalidValue("time_in_force: a stop limit order must be gtc")
    return replace(order, quantity=positive(order.quantity, "quantity"), price=price, stop_price=stop_price, leverage=leverage,
                   maintenance_rate=rate, fee_reserve=not_negative(order.fee_reserve, "fee_reserve"))


def checked_fill(fill: OrderFill) -> OrderFill:
    """Return a fill with its amounts in canonical form. Raises InvalidValue, which names the field."""
    word(fill.fill_id, "fill_id")
    one_of(fill.liquidity, LIQUIDITIES, "liquidity")
    time_ns(fill.at_ns)
    return replace(fill, price=positive(fill.price, "price"), quantity=positive(fill.quantity, "quantity"),
                   fee=amount(fill.fee, "fee"))


def checked_money(value: object) -> Decimal:
    """Return the amount of a transfer. Raises InvalidValue for 0."""
    found = amount(value, "amount")
    if found == ZERO:
        raise InvalidValue("amount: a transfer of 0 moves nothing")
    return found
