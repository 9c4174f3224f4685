"""The figures of a replay, computed from its log of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from pumpwatch.model import Float64, Int64
from pumpwatch.paper.amounts import exact, exactly, product, ratio, shown
from pumpwatch.paper.orders import Action, PaperOrder
from pumpwatch.paper.results import EQUITY_POINTS, FillRow, ListingOutcome, RejectedOrder
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import Tape

ZERO = Decimal(0)
FILLS = ("filled", "liquidated")


@exactly
def outcome_of(tape: Tape, settings: Settings, delay_ms: int, log: Sequence[Action], rejected: Sequence[RejectedOrder],
               orders: Mapping[str, PaperOrder]) -> ListingOutcome:
    """Return the outcome of a log. rejected: orders that were never sent; those rejected by a venue are in the log."""
    fills = [action for action in log if action.kind in FILLS]
    by_venues = [RejectedOrder(action.at, action.venue, action.symbol, action.side, str(action.quantity), action.reason,
                               action.order_id) for action in log if action.kind == "rejected"]
    all_rejected = sorted([*rejected, *by_venues], key=lambda row: row.at)
    if not fills:
        return ListingOutcome(delay_ms, None, None, None, None, None, "none", ZERO, ZERO, ZERO, ZERO, tuple(all_rejected))
    times, values = _curve(tape, settings, fills)
    pnl = _pnl(tape, fills)
    fall = float((np.maximum(np.maximum.accumulate(values), float(settings.cash)) - values).max())
    points = np.unique(np.linspace(0, len(times) - 1, min(EQUITY_POINTS, len(times))).round().astype(np.int64))
    entry_price, slippage, exit_at, exit_price, reason = _ends(tape, fills, orders)
    return ListingOutcome(
        delay_ms, fills[0].at, shown(entry_price, 18), slippage, exit_at, None if exit_price is None else shown(exit_price, 18),
        reason, shown(sum((fill.fee for fill in fills), ZERO)), shown(pnl), shown(pnl * 100 / settings.size, 4), shown(fall),
        tuple(all_rejected), tuple(_row(fill) for fill in fills),
        tuple((int(times[place]), shown(float(values[place]))) for place in points))


def _row(fill: Action) -> FillRow:
    return FillRow(fill.at, fill.venue, fill.symbol, fill.side, shown(fill.price or ZERO, 18), shown(fill.quantity),
                   shown(fill.fee), fill.liquidity, fill.order_id)


def _sign(fill: Action) -> int:
    return 1 if fill.side == "buy" else -1


def _place(tape: Tape, fill: Action) -> int:
    wanted = (fill.venue, fill.symbol)
    return next(number for number, market in enumerate(tape.markets) if (market.venue, market.symbol) == wanted)


def _mean(fills: Sequence[Action]) -> Decimal:
    amount = sum((product(fill.price or ZERO, fill.quantity) for fill in fills), ZERO)
    return ratio(amount, sum((fill.quantity for fill in fills), ZERO))


def _expected(fills: Sequence[Action], orders: Mapping[str, PaperOrder]) -> Decimal | None:
    """Return the mean price if each fill had been at the last trade before its order was sent; None if one had no such trade."""
    prices = [orders[fill.order_id].reference for fill in fills]
    amount = sum((exact(price) * fill.quantity for price, fill in zip(prices, fills, strict=True) if price is not None), ZERO)
    return None if None in prices else amount / sum((fill.quantity for fill in fills), ZERO)


def _ends(tape: Tape, fills: Sequence[Action], orders: Mapping[str, PaperOrder]) -> tuple[
        Decimal, Decimal | None, int | None, Decimal | None, str]:
    """Return entry price, slippage, exit time, exit price and exit reason, of the market that was traded first."""
    first = fills[0]
    own = [fill for fill in fills if (fill.venue, fill.symbol) == (first.venue, first.symbol)]
    opening = [fill for fill in own if fill.side == first.side]
    closing = [fill for fill in own if fill.side != first.side]
    entry, expected = _mean(opening), _expected(opening, orders)
    slippage = None if expected is None else shown((entry / expected - 1) * 10_000 * _sign(first), 2)
    held = sum((_sign(fill) * fill.quantity for fill in own), ZERO)
    if held == 0 and closing:
        last = closing[-1]
        reason = "liquidated" if last.kind == "liquidated" else orders[last.order_id].tag or "strategy"
        return entry, slippage, last.at, _mean(closing), reason
    price = tape.of(_place(tape, first)).last_price(tape.end_ns)
    return entry, slippage, tape.end_ns, None if price is None else exact(price), "end_of_tape"


def _pnl(tape: Tape, fills: Sequence[Action]) -> Decimal:
    """Return the profit or loss of all fills, with open positions valued at the last trade."""
    total = ZERO
    held: dict[int, Decimal] = {}
    for fill in fills:
        total -= _sign(fill) * product(fill.price or ZERO, fill.quantity) + fill.fee
        place = _place(tape, fill)
        held[place] = held.get(place, ZERO) + _sign(fill) * fill.quantity
    for place, quantity in held.items():
        price = tape.of(place).last_price(tape.end_ns) if quantity else None
        total += product(exact(price or 0), quantity)
    return total


def _curve(tape: Tape, settings: Settings, fills: Sequence[Action]) -> tuple[Int64, Float64]:
    """Return the times and the account's values at each fill, and at each trade of the traded markets since the first fill."""
    places = sorted({_place(tape, fill) for fill in fills})
    trades = {place: tape.of(place) for place in places}
    when = np.array([fill.at for fill in fills], np.int64)
    start = int(when[0])
    times = np.unique(np.concatenate([when, *(found.timestamp[found.timestamp >= start] for found in trades.values())]))
    paid = np.cumsum([-_sign(fill) * float(fill.price or 0) * float(fill.quantity) - float(fill.fee) for fill in fills])
    values = float(settings.cash) + paid[when.searchsorted(times, "right") - 1]
    for place, found in trades.items():
        own = [fill for fill in fills if _place(tape, fill) == place]
        own_at = np.array([fill.at for fill in own], np.int64)
        held = np.concatenate(([0.0], np.cumsum([_sign(fill) * float(fill.quantity) for fill in own])))
        prices = np.concatenate(([float(own[0].price or 0)], found.price))  # before the first trade: the first fill's price
        values = values + held[own_at.searchsorted(times, "right")] * prices[found.timestamp.searchsorted(times, "right")]
    return times, values
