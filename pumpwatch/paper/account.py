"""The account of a replay as the venues see it: its free balance, and the position on each market.

All venues share one free balance. Coins can be sold only on the venue where they were bought. Spot orders are paid in full, and
spot cannot be sold short. A futures position has isolated margin: it can lose only its margin. The maintenance margin is
MAINTENANCE times the position's value; the mark price is the last trade of the market.
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
    """The position on one market.

    quantity: base units, negative if short. cost: of the whole position. low, high: a mark price at or beyond them liquidates it.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    margin: Decimal = ZERO
    leverage: int = 1
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def entry(self) -> Decimal:
        """Return the mean entry price, rounded. Profit and loss are computed from `cost`."""
        return ratio(self.cost, abs(self.quantity)) if self.quantity else ZERO

    def share(self, amount: Decimal, quantity: Decimal) -> Decimal:
        """Return the part of an amount that belongs to this quantity of the position."""
        return ratio(CONTEXT.multiply(amount, quantity), abs(self.quantity))


class PaperAccount:
    """The balance and positions of a replay. Amounts are in the quote."""

    def __init__(self, cash: Decimal, markets: tuple[TapeMarket, ...]) -> None:
        self.cash = cash
        self.positions = [PaperPosition() for _ in markets]
        self._markets = markets

    def affordable(self, number: int, sign: int, price: Decimal, leverage: int, free: Decimal, taker: bool = True) -> Decimal:
        """Return the largest quantity that this free balance allows to trade at a price. sign: 1 buys, -1 sells."""
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
        """Close a position with the loss of its whole margin; return its signed quantity, and the price at which that happens."""
        position = self.positions[number]
        quantity = position.quantity
        price = position.entry - ratio(position.margin, quantity)
        self.positions[number] = PaperPosition()
        return quantity, price


def _set_limits(market: TapeMarket, position: PaperPosition) -> None:
    """Set the mark prices at which the remaining margin equals the maintenance margin."""
    position.low, position.high = float("-inf"), float("inf")
    if market.is_futures and position.quantity:
        edge = position.entry - ratio(position.margin, position.quantity)
        if position.quantity > 0:
            position.low = float(edge / (1 - MAINTENANCE))
        else:
            position.high = float(edge / (1 + MAINTENANCE))
