"""A plain model of one account, in exact fractions and without a rule of the ledger's own code."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

ROUNDING = Fraction(1, 10**12)  # the ledger rounds at the 18th place


class Refused(Exception):
    """The model does not do it."""


@dataclass
class ModelOrder:
    """An order: what is left of it, and what it still locks."""

    venue: str
    side: int  # 1 buys, -1 sells
    left: Fraction
    reduce_only: bool
    leverage: int
    margin_type: str
    asset: str
    locked: Fraction
    state: str = "open"


@dataclass
class ModelPosition:
    """A position: signed quantity, value and margin."""

    quantity: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)  # of its size, above zero
    margin: Fraction = Fraction(0)
    margin_type: str = "isolated"

    def reduce(self, part: Fraction, price: Fraction) -> Fraction:
        """Take a part off, and return its profit."""
        size, sign = abs(self.quantity), 1 if self.quantity > 0 else -1
        kept = (size - part) / size
        profit = sign * (part * price - self.cost * part / size)
        self.quantity, self.cost, self.margin = sign * (size - part), self.cost * kept, self.margin * kept
        return profit


@dataclass
class Model:
    """An account."""

    money: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    orders: dict[str, ModelOrder] = field(default_factory=dict)
    positions: dict[str, ModelPosition] = field(default_factory=lambda: defaultdict(ModelPosition))

    def locked(self, asset: str) -> Fraction:
        """Return what orders and positions lock of an asset."""
        margins = sum((position.margin for position in self.positions.values()), Fraction(0)) if asset == "USDT" else Fraction(0)
        return margins + sum((o.locked for o in self.orders.values() if o.asset == asset and o.state == "open"), Fraction(0))

    def slack(self) -> Fraction:
        """Return the least that is available of any asset."""
        return min(self.money[asset] - self.locked(asset) for asset in ("USDT", "COIN"))

    def place(self, name: str, order: ModelOrder, price: Fraction | None) -> None:
        """Place an order."""
        held = self.positions[order.venue].quantity
        futures = order.venue == "one.futures"
        worth = (price or Fraction(0)) * order.left
        if futures:
            if order.reduce_only and held * order.side >= 0:
                raise Refused
            against = min(order.left, abs(held)) if held * order.side < 0 else Fraction(0)
            opened = Fraction(0) if order.reduce_only else 1 - against / order.left
            order.locked = worth * opened / order.leverage
        else:
            order.locked = worth if order.side > 0 else order.left
        self.orders[name] = order

    def fill(self, name: str, price: Fraction, quantity: Fraction, fee: Fraction) -> None:
        """Execute a part of an order."""
        order = self.orders.get(name)
        if order is None or order.state != "open" or quantity > order.left:
            raise Refused
        order.locked *= (order.left - quantity) / order.left
        order.left -= quantity
        if not order.left:
            order.state = "filled"
        self.money["USDT"] -= fee
        position = self.positions[order.venue]
        reduced = min(quantity, abs(position.quantity)) if position.quantity * order.side < 0 else Fraction(0)
        profit = position.reduce(reduced, price) if reduced else Fraction(0)
        rest = quantity - reduced
        if order.venue == "one.futures":
            self.money["USDT"] += profit
            if rest and (order.reduce_only or (position.quantity and position.margin_type != order.margin_type)):
                raise Refused
            if rest:
                position.margin_type = order.margin_type
                position.margin += rest * price / order.leverage
        else:
            self.money["USDT"] -= order.side * quantity * price
            self.money["COIN"] += order.side * quantity
            rest = rest if order.side > 0 else Fraction(0)
        position.quantity += order.side * rest
        position.cost += rest * price

    def end(self, name: str) -> None:
        """End an order."""
        order = self.orders.get(name)
        if order is None or order.state != "open":
            raise Refused
        order.state = "ended"

    def liquidate(self, price: Fraction) -> None:
        """Close the futures position, at most for what covers it."""
        position = self.positions["one.futures"]
        if not position.quantity:
            raise Refused
        cover = position.margin
        if position.margin_type == "cross":
            cover += self.money["USDT"] - self.locked("USDT")
        self.money["USDT"] += max(position.reduce(abs(position.quantity), price), -cover)
