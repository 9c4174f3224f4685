"""The account of a replay, as the venues know it: its free balance, and the position of each market.

One free balance serves all venues. Coins can be sold only on the venue where they were bought. Spot pays in full and cannot be
sold short. A futures position has isolated margin: its part of the balance is all that it can lose. The maintenance margin is
MAINTENANCE of the position's value; the mark price is the last trade of that market.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pumpwatch.paper.amounts import CONTEXT, FEE_STEP, fee_up, product, quantity_down, ratio
from pumpwatch.paper.tape import TapeMarket

MAINTENANCE = Decimal("0.01")
ZERO = Decimal(0)


@dataclass(slots=True)
class PaperPosition:
    """quantity: base units, negative for a short one. cost: of all of it. low, high: a mark beyond these liquidates it."""

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    margin: Decimal = ZERO
    leverage: int = 1
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def entry(self) -> Decimal:
        """Return the mean price at which it was opened, rounded: the money is reckoned from `cost`."""
        return ratio(self.cost, abs(self.quantity)) if self.quantity else ZERO

    def share(self, amount: Decimal, quantity: Decimal) -> Decimal:
        """Return the part of an amount that belongs to a part of the position."""
        return ratio(CONTEXT.multiply(amount, quantity), abs(self.quantity))


class PaperAccount:
    """Applies fills. Amounts are in the quote."""

    def __init__(self, cash: Decimal, markets: tuple[TapeMarket, ...]) -> None:
        self.cash = cash
        self.positions = [PaperPosition() for _ in markets]
        self._markets = markets

    def affordable(self, number: int, sign: int, price: Decimal, leverage: int, free: Decimal, taker: bool = True) -> Decimal:
        """Return the largest quantity that may be traded at a price, with so much free balance. sign: 1 buys, -1 sells."""
        market, held = self._markets[number], self.positions[number].quantity
        closing = abs(held) if held * sign < 0 else ZERO
        if not market.is_futures and sign < 0:
            return closing
        part = (1 if not market.is_futures else ratio(Decimal(1), Decimal(leverage))) + (market.taker if taker else market.maker)
        opening = quantity_down(CONTEXT.divide(max(free - FEE_STEP, ZERO), CONTEXT.multiply(price, part))) if price else ZERO
        return opening + (closing if market.is_futures else ZERO)

    def fill(self, number: int, sign: int, price: Decimal, quantity: Decimal, leverage: int, taker: bool) -> Decimal:
        """Apply a fill, and return its fee."""
        market, position = self._markets[number], self.positions[number]
        fee = fee_up(product(price, quantity) * (market.taker if taker else market.maker))
        self.cash -= fee
        closing = min(quantity, abs(position.quantity)) if position.quantity * sign < 0 else ZERO
        if closing:
            self._close(market, position, sign, price, closing)
        if quantity > closing:
            self._open(market, position, sign, price, quantity - closing, leverage)
        _set_limits(market, position)
        return fee

    def _close(self, market: TapeMarket, position: PaperPosition, sign: int, price: Decimal, quantity: Decimal) -> None:
        cost, margin = position.share(position.cost, quantity), position.share(position.margin, quantity)
        position.cost -= cost
        position.margin -= margin
        if market.is_futures:
            self.cash += margin + (product(price, quantity) - cost) * -sign
        else:
            self.cash += product(price, quantity)
        position.quantity += sign * quantity

    def _open(self, market: TapeMarket, position: PaperPosition, sign: int, price: Decimal, quantity: Decimal,
              leverage: int) -> None:
        amount = product(price, quantity)
        position.cost += amount
        position.quantity += sign * quantity
        if market.is_futures:
            position.leverage = leverage
            margin = ratio(amount, Decimal(leverage))
            position.margin += margin
            self.cash -= margin
        else:
            self.cash -= amount

    def liquidate(self, number: int) -> tuple[Decimal, Decimal]:
        """Close a position so that its margin is gone; return its signed quantity, and the price that comes to that."""
        position = self.positions[number]
        quantity = position.quantity
        price = position.entry - ratio(position.margin, quantity)
        self.positions[number] = PaperPosition()
        return quantity, price


def _set_limits(market: TapeMarket, position: PaperPosition) -> None:
    """Set the marks at which what is left of the margin is the maintenance margin."""
    position.low, position.high = float("-inf"), float("inf")
    if market.is_futures and position.quantity:
        edge = position.entry - ratio(position.margin, position.quantity)
        if position.quantity > 0:
            position.low = float(edge / (1 - MAINTENANCE))
        else:
            position.high = float(edge / (1 + MAINTENANCE))
