"""The arithmetic of positions: fills, valuation, and the liquidation price.

Contracts are linear: quantities are in base units; cost, margin and PnL are in the account's asset. There is one position per
symbol: an order against it reduces it, and the rest of a futures order opens the other side.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from pumpwatch.accounts.amounts import ONE, ZERO, divided, less, share, times, total
from pumpwatch.accounts.records import BUY, CROSS, FLAT, LONG, SHORT, NewOrder, OrderFill, Position, is_futures
from pumpwatch.accounts.refusals import InvalidValue, WrongState


def opening(position: Position | None, side: str, quantity: Decimal) -> Decimal:
    """Return the part of an order's quantity that would open or increase a position, not reduce one."""
    if position is None or not against(position, side):
        return quantity
    return max(ZERO, less(quantity, position.quantity))


def against(position: Position, side: str) -> bool:
    """Return whether an order of this side reduces the position."""
    return position.side == (SHORT if side == BUY else LONG)


def filled(position: Position, order: NewOrder, fill: OrderFill) -> tuple[Position, Decimal]:
    """Return the position after a fill, and the realised profit or loss without the fee.

    Raises WrongState if a reduce-only order would open a position, or if the margin types differ; InvalidValue if a figure is too
    large for an amount.
    """
    futures, realised, quantity = is_futures(order.venue), ZERO, fill.quantity
    if against(position, order.side):
        part = min(quantity, position.quantity)
        position, realised = _reduced(position, part, fill.price)
        quantity = less(quantity, part)
    if quantity and order.reduce_only:
        raise WrongState(f"order {order.order_id}: reduce only, but the fill exceeds the position by {quantity}")
    if quantity and (futures or order.side == BUY):
        position = _increased(position, order, quantity, fill.price, futures)
    return marked(replace(position, realised_pnl=total(position.realised_pnl, realised), fees=total(position.fees, fill.fee)),
                  fill.price, fill.at_ns), realised


def _increased(position: Position, order: NewOrder, quantity: Decimal, price: Decimal, futures: bool) -> Position:
    if position.quantity and futures and position.margin_type != order.margin_type:
        raise WrongState(f"order {order.order_id}: the position's margin is {position.margin_type}, not {order.margin_type}")
    value = times(quantity, price)
    margin = divided(value, order.leverage) if futures else ZERO
    return replace(position, side=LONG if order.side == BUY else SHORT, margin_type=order.margin_type, leverage=order.leverage,
                   maintenance_rate=order.maintenance_rate, quantity=total(position.quantity, quantity),
                   cost=total(position.cost, value), margin=total(position.margin, margin))


def _reduced(position: Position, part: Decimal, price: Decimal) -> tuple[Position, Decimal]:
    cost, margin = share(position.cost, part, position.quantity), share(position.margin, part, position.quantity)
    left = less(position.quantity, part)
    return replace(position, quantity=left, side=position.side if left else FLAT, cost=less(position.cost, cost),
                   margin=less(position.margin, margin)), _profit(position.side, times(part, price), cost)


def _profit(side: str, value: Decimal, cost: Decimal) -> Decimal:
    return less(value, cost) if side == LONG else less(cost, value) if side == SHORT else ZERO


def marked(position: Position, price: Decimal, at_ns: int) -> Position:
    """Return the position valued at a price, with the next version."""
    held = position.quantity
    return replace(position, mark_price=price, entry_price=divided(position.cost, held) if held else ZERO,
                   unrealised_pnl=_profit(position.side, times(held, price), position.cost), liquidation_price=None,
                   version=position.version + 1, changed_at_ns=at_ns)


def closed(position: Position, price: Decimal, fee: Decimal, at_ns: int) -> tuple[Position, Decimal]:
    """Return the position closed at a price, and the realised profit or loss without the fee."""
    flat, realised = _reduced(position, position.quantity, price)
    flat = replace(flat, realised_pnl=total(flat.realised_pnl, realised), fees=total(flat.fees, fee))
    return marked(flat, price, at_ns), realised


def liquidated_at(position: Position, available: Decimal) -> Position:
    """Return the position with its liquidation price, at which the margin minus the loss equals the maintenance margin.

    available: the account's free money, which a cross position may lose too. The price is None if no price above zero liquidates
    the position.
    """
    if not position.quantity or not is_futures(position.venue):
        return position
    cover = total(position.margin, available) if position.margin_type == CROSS else position.margin
    if position.side == LONG:
        over, rate = less(position.cost, cover), less(ONE, position.maintenance_rate)
    else:
        over, rate = total(position.cost, cover), total(ONE, position.maintenance_rate)
    try:
        price = divided(over, times(position.quantity, rate))
    except (InvalidValue, ZeroDivisionError):  # a tiny quantity: the price is beyond the range of amounts
        return replace(position, liquidation_price=None)
    return replace(position, liquidation_price=price if price > 0 else None)
