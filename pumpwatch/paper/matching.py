"""The venues of a replay: orders arrive, and are filled against recorded books and trades. Future data is never used.

- A market order walks the recorded book (`book_walk`). Without a book, or for the rest, it takes the following trades whose taker
  was on the same side, at their prices, and at most the share of each one's volume.
- A limit order that crosses the last trade takes in the same way, up to its limit, until a trade beyond the limit. Then it rests,
  or ends if it is immediate: an immediate order is never a maker.
- A resting limit order is at the end of the queue. It fills at its limit, and only when the market trades through it: below a
  limit to buy, above a limit to sell. It gets at most the share of each such trade. It pays the maker's fee.
- A stop order waits for a trade at its stop or beyond, and is a limit order after that trade.
- A fill-or-kill order ends unless a recorded book fills it completely on arrival.
- Only trades later than the order's arrival count, not those of the same nanosecond. Several orders divide the share.
- A fill never costs more than the free balance: the rest of such an order is cancelled.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import Decimal

from pumpwatch.clock import NS_PER_MS
from pumpwatch.paper.account import PaperAccount
from pumpwatch.paper.amounts import exact, exactly, fee_up, price_of, product, quantity_down
from pumpwatch.paper.book_walk import BookWalk
from pumpwatch.paper.cursor import ANYWHERE, NEVER, NOWHERE, Cursor
from pumpwatch.paper.orders import BUY, LIQUIDATED, SELL, Action, PaperOrder
from pumpwatch.paper.tape import MarketTrades, Tape
from pumpwatch.strategy import Fill

IMMEDIATE_NS = 100 * NS_PER_MS  # an immediate order is cancelled after this time
IMMEDIATE = "immediate: not filled in time"
ZERO = Decimal(0)

ARRIVAL, CANCEL, EXPIRY = 0, 1, 2


class Matching:
    """Moves the venues through time. learned: called with a fill (or None), its order, and the time (ns).

    next_at: the time (ns) of the next possible event. log: all actions so far, in order.
    """

    def __init__(self, tape: Tape, account: PaperAccount, share: float,
                 learned: Callable[[Fill | None, PaperOrder, int], None]) -> None:
        self.tape, self.account = tape, account
        self.next_at = NEVER
        self.log: list[Action] = []
        self._share, self._learned = share, learned
        self._events: list[tuple[int, int, int, PaperOrder | str]] = []
        self._count = 0
        self._fills = 0
        self._live: dict[int, list[PaperOrder]] = {}
        self._by_id: dict[str, PaperOrder] = {}
        self._cursors: dict[int, Cursor] = {}
        self._active: dict[int, Cursor] = {}
        self._books = BookWalk(tape.books)

    def trades_of(self, number: int) -> MarketTrades:
        """Return the trades of a market with which orders are matched."""
        return self._cursor(number).trades

    def send(self, order: PaperOrder, arrives_at: int) -> None:
        """Schedule the arrival of an order."""
        order.reference = self.trades_of(order.number).last_price(order.sent_at)
        order.remaining = order.quantity
        self._by_id[order.order_id] = order
        self._push(arrives_at, ARRIVAL, order)

    def send_cancel(self, order_id: str, arrives_at: int) -> None:
        """Schedule the arrival of a cancellation."""
        self._push(arrives_at, CANCEL, order_id)

    @exactly
    def advance(self, to_ns: int) -> None:
        """Advance to a time, or to the next action if that comes first."""
        done = len(self.log)
        while len(self.log) == done:
            cursor = min(self._active.values(), key=lambda found: found.next_at) if self._active else None
            trade_at = cursor.next_at if cursor else NEVER
            event_at = self._events[0][0] if self._events else NEVER
            if min(trade_at, event_at) > to_ns:
                break
            if cursor is not None and trade_at <= event_at:
                self._trade(cursor)
            else:
                self._event()
        self._set_next()

    @exactly
    def finish(self, end_ns: int) -> None:
        """Cancel the open orders at the end of the tape, and log the last price of each position."""
        for orders in list(self._live.values()):
            for order in list(orders):
                self._end(order, end_ns, "the recording ends")
        for number, position in enumerate(self.account.positions):
            price = self.trades_of(number).last_price(end_ns) if position.quantity else None
            if price is not None:
                market = self.tape.markets[number]
                self.log.append(Action(kind="marked", at=end_ns, venue=market.venue, symbol=market.symbol,
                                       market_type=market.market_type, quantity=position.quantity, price=price_of(price)))

    def _push(self, at_ns: int, kind: int, what: PaperOrder | str) -> None:
        self._count += 1
        heapq.heappush(self._events, (at_ns, self._count, kind, what))
        self.next_at = min(self.next_at, at_ns)

    def _set_next(self) -> None:
        self.next_at = min([self._events[0][0] if self._events else NEVER, *(found.next_at for found in self._active.values())])

    def _cursor(self, number: int) -> Cursor:
        if number not in self._cursors:
            self._cursors[number] = Cursor(number, self.tape.of(number))
        return self._cursors[number]

    def _event(self) -> None:
        at_ns, _, kind, what = heapq.heappop(self._events)
        order = self._by_id.get(what) if isinstance(what, str) else what
        if order is None or order.done:  # a cancellation may overtake its order
            return
        if kind == ARRIVAL:
            self._arrive(order, at_ns)
        else:
            self._end(order, at_ns, "cancelled by the strategy" if kind == CANCEL else IMMEDIATE)
        if self._is_idle(order.number):
            self._active.pop(order.number, None)
        else:
            self._active[order.number] = self._cursor(order.number)
            self._active[order.number].seek(at_ns, *self._edges(order.number))

    def _arrive(self, order: PaperOrder, at_ns: int) -> None:
        number = order.number
        last = self.trades_of(number).last_price(at_ns)
        self._log("placed", at_ns, order, quantity=order.quantity, price=order.limit, reduce_only=order.reduce_only,
                  immediate=order.immediate, leverage=order.leverage, stop=order.stop, whole=order.whole)
        if reason := self._problem(order, last):
            order.done = True
            self._log("rejected", at_ns, order, quantity=order.quantity, reason=reason)
            self._learned(None, order, at_ns)
            return
        self._live.setdefault(number, []).append(order)
        order.waiting = order.stop is not None
        if not order.reached(last):
            order.taking = False
            return
        self._enter(order, at_ns, last)

    def _enter(self, order: PaperOrder, at_ns: int, last: float | None) -> None:
        """Match an order for the first time: when it arrives, or when its stop is reached."""
        if order.waiting:
            order.waiting = False
            self._log("triggered", at_ns, order)
        order.taking = order.limit is None or (last is not None and not order.beyond(last))
        if (levels := self._books.levels_for(order, at_ns, self.trades_of(order.number))) is not None:
            order.taking = True
            for price, quantity in levels if not order.whole or self._fills_whole(order, levels) else ():
                self._books.record_taken(order, at_ns, self._fill(order, at_ns, price, quantity, taker=True))
                if order.done:
                    break
            order.taking = order.limit is None
        if order.whole:
            self._end(order, at_ns, "fill or kill: no recorded book fills it whole")
        elif order.immediate and not order.taking:
            self._end(order, at_ns, IMMEDIATE)
        elif order.immediate and not order.done:
            self._push(at_ns + IMMEDIATE_NS, EXPIRY, order)

    def _fills_whole(self, order: PaperOrder, levels: list[tuple[Decimal, Decimal]]) -> bool:
        """Return whether the levels fill an order completely, and the account can pay for it at their highest price."""
        if sum((quantity for _, quantity in levels), ZERO) < order.remaining:
            return False
        if order.reduce_only:
            return order.remaining <= abs(self.account.positions[order.number].quantity)
        highest = max(price for price, _ in levels)
        return order.remaining <= self.account.affordable(order.number, order.sign, highest, order.leverage, self._free(order))

    def _problem(self, order: PaperOrder, last: float | None) -> str:
        """Return why a venue rejects an order; empty if it accepts it."""
        market, position = self.tape.markets[order.number], self.account.positions[order.number]
        held, sign = position.quantity, order.sign
        if order.leverage > market.most_leverage:
            return f"leverage {order.leverage} is above the limit of {market.most_leverage} of {market.venue}"
        if market.is_futures and held and held * sign > 0 and order.leverage != position.leverage:
            return f"leverage {order.leverage}: the open position has {position.leverage}"
        if order.reduce_only and held * sign >= 0:
            return "reduce-only, and there is no position to reduce"
        if not market.is_futures and sign == SELL:
            free = held - sum((other.remaining for other in self._live.get(order.number, ()) if other.sign == SELL), ZERO)
            return f"sells {order.quantity}, and the account has {max(free, ZERO)}" if order.quantity > free else ""
        price = order.limit if order.limit is not None else None if last is None else exact(last)
        if price is None or order.reduce_only:
            return ""
        most = self.account.affordable(order.number, sign, price, order.leverage, self._free())
        return "" if order.quantity <= most else f"not enough balance: at {price} it pays for {most}"

    def _free(self, besides: PaperOrder | None = None) -> Decimal:
        """Return the balance that is not reserved for open orders. besides: an order whose reserve counts as free."""
        needed = ZERO
        for orders in self._live.values():
            needed += sum((self._need(order, order.remaining) for order in orders if order is not besides), ZERO)
        return self.account.cash - needed

    def _need(self, order: PaperOrder, quantity: Decimal) -> Decimal:
        """Return the balance reserved for this quantity of an open order."""
        if order.limit is None or order.reduce_only or (order.sign == SELL and not self.tape.markets[order.number].is_futures):
            return ZERO
        return product(order.limit, quantity) / order.leverage

    def _trade(self, cursor: Cursor) -> None:
        number, (at_ns, price, quantity, side) = cursor.number, cursor.row()
        position = self.account.positions[number]
        if position.quantity and not position.low < price < position.high:
            self._liquidate(number, at_ns)
        left = quantity * self._share
        for order in list(self._live.get(number, ())):
            if order.waiting:
                if order.reached(price):
                    self._enter(order, at_ns, price)
                continue
            passed = (float(order.limit) - price) * order.sign if order.limit is not None else 0.0
            own_side = (side == 0) == (order.sign == BUY)
            if order.taking and own_side and passed < 0:
                order.taking = False
                if order.immediate:
                    self._end(order, at_ns, IMMEDIATE)
            if left <= 0 or order.done or not ((own_side and passed >= 0) if order.taking else passed > 0):
                continue
            wanted = min(order.remaining, quantity_down(left))
            if wanted > 0:
                at = price_of(price) if order.taking or order.limit is None else order.limit
                left -= float(self._fill(order, at_ns, at, wanted, taker=order.taking))
        if self._is_idle(number):
            del self._active[number]
        else:
            cursor.forward(*self._edges(number))

    def _fill(self, order: PaperOrder, at_ns: int, price: Decimal, quantity: Decimal, taker: bool) -> Decimal:
        """Fill a part of an order as far as the balance allows; return the filled quantity."""
        account, number = self.account, order.number
        position = account.positions[number]
        most = closing = abs(position.quantity) if position.quantity * order.sign < 0 else ZERO
        if closing and not position.low < float(price) < position.high:  # the book's level is beyond the liquidation mark
            self._liquidate(number, at_ns)
            return ZERO
        if not order.reduce_only:
            most = account.affordable(number, order.sign, price, order.leverage, self._free(order), taker)
        part = min(quantity, most)
        if part > closing and self._free(order) < self._need(order, order.remaining - part) + product(price, part - closing) / (
                order.leverage) + fee_up(product(price, part) * self.tape.markets[number].taker):
            part = ZERO
        if part > 0:
            fee = account.fill(number, order.sign, price, part, order.leverage, taker)
            order.remaining -= part
            self._fills += 1
            liquidity = "taker" if taker else "maker"
            self._log("filled", at_ns, order, quantity=part, price=price, fee=fee, liquidity=liquidity, fill_id=f"f{self._fills}")
            fill = Fill(at_ns, self.tape.markets[number].name, order.side, price, part, fee, liquidity, order.order_id)
            if not order.remaining:
                self._drop(order)
            self._learned(fill, order, at_ns)
        if part < quantity:
            self._end(order, at_ns, "nothing is left to reduce" if order.reduce_only else "the balance pays for no more")
        return part

    def _end(self, order: PaperOrder, at_ns: int, reason: str) -> None:
        """Cancel the rest of an order."""
        if order.done:
            return
        known = order in self._live.get(order.number, ())
        self._drop(order)
        if known:
            self._log("cancelled", at_ns, order, quantity=order.remaining, reason=reason)
        self._learned(None, order, at_ns)

    def _drop(self, order: PaperOrder) -> None:
        order.done = True
        if order in self._live.get(order.number, ()):
            self._live[order.number].remove(order)

    def _liquidate(self, number: int, at_ns: int) -> None:
        market, leverage = self.tape.markets[number], self.account.positions[number].leverage
        for order in list(self._live.get(number, ())):
            self._end(order, at_ns, "the position was liquidated")
        quantity, price = self.account.liquidate(number)
        side, order_id = "sell" if quantity > 0 else "buy", f"liquidation{len(self.log)}"
        self.log.append(Action(kind="liquidated", at=at_ns, order_id=order_id, venue=market.venue, symbol=market.symbol,
                               market_type=market.market_type, side=side, quantity=abs(quantity), price=price,
                               leverage=leverage, liquidity="taker"))
        order = PaperOrder(order_id, number, SELL if quantity > 0 else BUY, abs(quantity), None, False, True, leverage, at_ns,
                      LIQUIDATED, done=True)
        self._learned(Fill(at_ns, market.name, side, price, abs(quantity), ZERO, "taker", order_id), order, at_ns)

    def _is_idle(self, number: int) -> bool:
        """Return whether a market has no orders and no position that could be liquidated."""
        position = self.account.positions[number]
        return not self._live.get(number) and (not position.quantity or not self.tape.markets[number].is_futures)

    def _edges(self, number: int) -> tuple[float, float]:
        """Return the highest price and the lowest price such that a trade at or below, or at or above, may have an effect."""
        position, orders = self.account.positions[number], self._live.get(number, ())
        if any(order.taking for order in orders):
            return ANYWHERE, NOWHERE
        limits = [(-order.sign, float(order.stop or 0)) if order.waiting else (order.sign, float(order.limit or 0))
                  for order in orders]
        return (max([position.low, *(limit for sign, limit in limits if sign == BUY)]),
                min([position.high, *(limit for sign, limit in limits if sign == SELL)]))

    def _log(self, kind: str, at_ns: int, order: PaperOrder, **facts: object) -> None:
        market = self.tape.markets[order.number]
        self.log.append(Action(kind=kind, at=at_ns, order_id=order.order_id, venue=market.venue, symbol=market.symbol,
                               market_type=market.market_type, side=order.side, **facts))  # type: ignore[arg-type]
