"""The broker of a strategy: it checks orders, and knows only the fills that the strategy knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from random import Random

from pumpwatch.errors import PumpWatchError
from pumpwatch.paper.account import PaperAccount
from pumpwatch.paper.amounts import MOST, STEP, exact, exactly, price_of, problem_of, product, quantity_down, ratio
from pumpwatch.paper.orders import BUY, LIQUIDATED, NAMES, SELL, PaperOrder
from pumpwatch.paper.results import RejectedOrder
from pumpwatch.paper.seen import SeenMarket
from pumpwatch.paper.settings import Settings
from pumpwatch.paper.tape import TapeMarket
from pumpwatch.strategy import Amount, Fill

MOST_ORDERS = 20_000  # per replay
MOST_REJECTED = 1_000  # rejected orders kept per replay

Send = Callable[[PaperOrder], None]


class PaperBroker:
    """See `strategy.Broker`. The engine sets `now` and reports fills. A strategy cannot reach future data through it."""

    def __init__(self, markets: Sequence[TapeMarket], seen: Sequence[SeenMarket], settings: Settings, numbers: Random,
                 send: Send, send_cancel: Callable[[str, int], None]) -> None:
        self._numbers = {market.name: number for number, market in enumerate(markets)}
        self._markets, self._seen, self._settings = markets, seen, settings
        self._send, self._send_cancel = send, send_cancel
        self._now = 0
        self._sent = 0
        self._random = numbers
        self._known = PaperAccount(settings.cash, tuple(markets))  # after the fills that the strategy knows
        self._open: dict[str, PaperOrder] = {}
        self.rejected: list[RejectedOrder] = []

    now = property(lambda self: self._now)
    size = property(lambda self: self._settings.size)
    leverage = property(lambda self: self._settings.leverage)
    random = property(lambda self: self._random)
    cash = property(lambda self: self._known.cash)

    @property
    def markets(self) -> Sequence[str]:
        return tuple(self._numbers)

    def market_type(self, market: str) -> str:
        number = self._number(market)
        return "" if number is None else self._markets[number].market_type

    def last(self, market: str) -> float | None:
        number = self._number(market)
        return None if number is None else self._seen[number].last(self._now)

    def volume(self, market: str) -> float:
        number = self._number(market)
        return 0.0 if number is None else self._seen[number].volume(self._now)

    def position(self, market: str) -> Decimal:
        number = self._number(market)
        return Decimal(0) if number is None else self._known.positions[number].quantity

    def open_orders(self) -> Sequence[str]:
        return tuple(self._open)

    def buy(self, market: str, quantity: Amount | None = None, *, quote: Amount | None = None, limit: Amount | None = None,
            immediate: bool = False, reduce_only: bool = False, leverage: int | None = None, stop: Amount | None = None,
            fill_or_kill: bool = False) -> str:
        return self._order(market, BUY, quantity, quote, limit, immediate, reduce_only, leverage, stop=stop, whole=fill_or_kill)

    def sell(self, market: str, quantity: Amount | None = None, *, quote: Amount | None = None, limit: Amount | None = None,
             immediate: bool = False, reduce_only: bool = False, leverage: int | None = None, stop: Amount | None = None,
            fill_or_kill: bool = False) -> str:
        return self._order(market, SELL, quantity, quote, limit, immediate, reduce_only, leverage, stop=stop, whole=fill_or_kill)

    def close(self, market: str) -> str | None:
        return self.close_by("", market)

    def cancel(self, order_id: str) -> None:
        if order_id in self._open:
            self._send_cancel(order_id, self._open[order_id].number)

    def cancel_all(self, market: str) -> None:
        """Cancel every open order of a market."""
        for order_id, order in list(self._open.items()):
            if order.number == self._numbers[market]:
                self.cancel(order_id)

    @exactly
    def close_by(self, tag: str, market: str) -> str | None:
        """Close a position for an exit rule. tag: the rule. Otherwise like `close`."""
        held = self.position(market)
        if not held:
            return None
        sign = SELL if held > 0 else BUY
        return self._order(market, sign, abs(held), None, None, False, True, None, tag)

    @exactly
    def learn(self, fill: Fill | None, order: PaperOrder, done: bool) -> None:
        """Apply a fill, or the end of an order. done: whether the order had ended at that time."""
        if fill is not None and order.tag == LIQUIDATED:
            self._known.liquidate(order.number)
        elif fill is not None:
            sign = BUY if fill.side == NAMES[BUY] else SELL
            self._known.fill(order.number, sign, fill.price, fill.quantity, order.leverage, fill.liquidity == "taker")
        if done:
            self._open.pop(order.order_id, None)

    def _number(self, market: str) -> int | None:
        return self._numbers.get(market) if isinstance(market, str) else None

    @exactly
    def _order(self, market: str, sign: int, quantity: Amount | None, quote: Amount | None, limit: Amount | None,
               immediate: bool, reduce_only: bool, leverage: int | None, tag: str = "", stop: Amount | None = None,
               whole: bool = False) -> str:
        self._sent += 1
        if self._sent > MOST_ORDERS:
            raise PumpWatchError(f"more than {MOST_ORDERS:,} orders in one replay")
        order_id = f"o{self._sent}"
        number = self._number(market)
        reason = (self._problem(number, market, quantity, quote, limit, leverage, stop)
                  or (_stop_problem(limit, bool(immediate or whole)) if stop is not None else ""))
        base = Decimal(0)
        if number is not None and not reason:
            price = self._seen[number].last(self._now)
            if quantity is None and price is None:
                reason = "an amount in USDT needs a price, and no trade was seen yet"
            else:
                base = quantity_down(exact(quantity) if quantity is not None else ratio(exact(quote or 0), exact(price or 1)))
                most = max(base, product(exact(limit or 1), base))
                reason = "the quantity is below 0.00000001" if base <= 0 else ""
                reason = "the amount is not below 10^18" if most >= MOST else reason
        if number is None or reason:
            self._reject(order_id, market, sign, quote if quantity is None else quantity, reason)
            return order_id
        found = self._markets[number]
        leverage = (self._settings.leverage if leverage is None else leverage) if found.is_futures else (leverage or 1)
        if found.is_futures and reduce_only:  # it opens no position, so the leverage does not matter
            leverage = min(leverage, found.most_leverage)
        worst = None if limit is None else price_of(limit, ROUND_DOWN if sign == BUY else ROUND_UP)
        order = PaperOrder(order_id, number, sign, base, worst, bool(immediate),
                      bool(reduce_only), leverage, self._now, tag, whole=bool(whole),
                      stop=None if stop is None else price_of(stop))
        self._open[order_id] = order
        self._send(order)
        return order_id

    def _problem(self, number: int | None, market: str, quantity: Amount | None, quote: Amount | None, limit: Amount | None,
                 leverage: int | None, stop: Amount | None) -> str:
        """Return why an order cannot be sent; empty if it can."""
        if number is None:
            return f"unknown symbol: {market!r:.80}"
        if (quantity is None) == (quote is None):
            return "give either a quantity or a quote amount"
        if leverage is not None and (isinstance(leverage, bool) or not isinstance(leverage, int) or leverage < 1):
            return f"the leverage is not a whole number from 1 on: {leverage!r:.40}"
        given = [(value, name) for value, name in ((quantity, "quantity"), (quote, "quote amount"), (limit, "limit"),
                                                    (stop, "stop"))
                 if value is not None]
        if reason := next((reason for value, name in given if (reason := problem_of(value, name))), ""):
            return reason
        low = next((name for value, name in ((limit, "limit"), (stop, "stop")) if value is not None and exact(value) < STEP), "")
        return low and f"the {low} is below 10^-18"

    def _reject(self, order_id: str, market: str, sign: int, quantity: object, reason: str) -> None:
        if len(self.rejected) < MOST_REJECTED:
            venue, _, symbol = str(market)[:80].partition(":")
            self.rejected.append(RejectedOrder(self._now, venue, symbol, NAMES[sign], f"{quantity!s:.40}", reason, order_id))


def _stop_problem(limit: Amount | None, immediate: bool) -> str:
    """Return why an order with a stop cannot be sent; empty if it can."""
    if limit is None:
        return "a stop order needs a limit"
    return "a stop order is neither immediate nor fill-or-kill" if immediate else ""
