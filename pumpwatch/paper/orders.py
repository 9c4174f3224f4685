"""An order of a replay, and the log of actions on all orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import msgspec

BUY, SELL = 1, -1
NAMES = {BUY: "buy", SELL: "sell"}
LIQUIDATED = "liquidated"  # the tag of an order by which a venue liquidates a position


@dataclass(slots=True)
class PaperOrder:
    """An order on one market. number: the market's place. sign: BUY or SELL. limit: None for a market order.

    immediate: it never rests. tag: the exit rule that sent it; empty for the strategy's own. reference: the price of the last
    trade before it was sent, or None. stop: it waits for a trade at this price or beyond. whole: it is filled completely on
    arrival, or ends. taking: it crosses the market and takes; else it rests until the market trades through it.
    """

    order_id: str
    number: int
    sign: int
    quantity: Decimal
    limit: Decimal | None
    immediate: bool
    reduce_only: bool
    leverage: int
    sent_at: int
    tag: str = ""
    reference: float | None = None
    stop: Decimal | None = None
    whole: bool = False
    waiting: bool = False
    remaining: Decimal = Decimal(0)
    taking: bool = True
    done: bool = False

    @property
    def side(self) -> str:
        """Return `buy` or `sell`."""
        return NAMES[self.sign]

    def reached(self, price: float | None) -> bool:
        """Return whether a price is at the stop or beyond; True without a stop."""
        return self.stop is None or (price is not None and (price - float(self.stop)) * self.sign >= 0)

    def beyond(self, price: float) -> bool:
        """Return whether a price is worse than the limit."""
        return self.limit is not None and (price - float(self.limit)) * self.sign > 0


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One action on an order or a position, for the account ledger. at: ns, ascending in a log.

    kind: placed, triggered, filled, cancelled, rejected, liquidated, marked. Amounts are in the quote, quantities in base units.
    """

    kind: str
    at: int
    order_id: str = ""
    venue: str = ""
    symbol: str = ""
    market_type: str = ""
    side: str = ""
    quantity: Decimal = Decimal(0)
    price: Decimal | None = None
    fee: Decimal = Decimal(0)
    liquidity: str = ""
    fill_id: str = ""
    reduce_only: bool = False
    immediate: bool = False
    stop: Decimal | None = None
    whole: bool = False
    leverage: int = 1
    reason: str = ""
