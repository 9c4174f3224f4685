"""A paper-trading strategy: the calls that it gets, and the broker through which it orders.

A strategy is a class that derives from `Strategy`. It stands in a file of its own, or in a plugin that offers it by the hook
`paper_strategies`. Its calls come in the order of its own time: it sees a trade when the trade had been received, plus the
strategy's latency, and never before. Times are int ns since 1970, UTC; a market is a text such as `binance.spot:KITEUSDT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import NamedTuple, Protocol

from pumpwatch.model import Listing

Amount = Decimal | float | int


class SeenTrade(NamedTuple):
    """A recorded trade as a strategy sees it. side: the taker's, `buy` or `sell`; quantity: in base units."""

    market: str
    price: float
    quantity: float
    side: str
    timestamp: int
    received_at: int


class Fill(NamedTuple):
    """A fill of one of the strategy's orders. at: when it happened on the venue; the strategy learns of it later."""

    at: int
    market: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: str
    order_id: str


class Broker(Protocol):
    """Takes orders and answers questions, all as of the strategy's own time. It never raises for a bad order: it rejects it."""

    @property
    def now(self) -> int:
        """Return the strategy's own time."""

    @property
    def size(self) -> Decimal:
        """Return the quote amount that an entry should have."""

    @property
    def leverage(self) -> int:
        """Return the leverage of futures orders; spot has 1."""

    @property
    def random(self) -> Random:
        """Return a source of numbers that follows from the run's seed."""

    @property
    def markets(self) -> Sequence[str]:
        """Return every market of the coin, by name."""

    @property
    def cash(self) -> Decimal:
        """Return the free balance, as far as the strategy knows of its fills."""

    def market_type(self, market: str) -> str:
        """Return `spot` or `futures`; empty for an unknown market."""

    def last(self, market: str) -> float | None:
        """Return the price of the last trade seen of a market; None without one yet.

        Takeovers and trades that were agreed outside of the order book do not count, neither here nor for `volume`.
        """

    def volume(self, market: str) -> float:
        """Return the quote volume of the trades seen of a market."""

    def position(self, market: str) -> Decimal:
        """Return the position in base units, negative for a short one, as far as the strategy knows of its fills."""

    def open_orders(self) -> Sequence[str]:
        """Return the ids of orders that were sent and, as far as the strategy knows, are not done."""

    def buy(self, market: str, quantity: Amount | None = None, *, quote: Amount | None = None, limit: Amount | None = None,
            immediate: bool = False, reduce_only: bool = False, leverage: int | None = None, stop: Amount | None = None,
            fill_or_kill: bool = False) -> str:
        """Send an order to buy, and return its id.

        quantity: base units; or quote: an amount in USDT, at the last price seen. limit: the highest price; None makes a market
        order. immediate: it takes, and what is not filled within 100 ms is cancelled. fill_or_kill: a recorded order book fills
        it whole as it arrives, or it ends. stop: the limit order waits on the venue for a trade at this price or above it.
        reduce_only: never beyond zero.
        """

    def sell(self, market: str, quantity: Amount | None = None, *, quote: Amount | None = None, limit: Amount | None = None,
             immediate: bool = False, reduce_only: bool = False, leverage: int | None = None, stop: Amount | None = None,
            fill_or_kill: bool = False) -> str:
        """Send an order to sell, as `buy` does. On spot only what the account has; on futures this may open a short position.

        stop: it waits for a trade at this price or below it.
        """

    def close(self, market: str) -> str | None:
        """Send a market order that closes the position of a market, and return its id; None where there is no position."""

    def cancel(self, order_id: str) -> None:
        """Send the cancellation of an order. A part that is filled before it arrives stays filled."""


class Strategy:
    """Derive from this, and override what you need. One object is made for each replay.

    watches: markets or venues (`binance.futures`) whose trades `on_trade` gets; empty: all of them. tick_s: seconds between two
    calls of `on_tick`; 0: there are none. Calls begin with `on_listing`.
    """

    watches: Sequence[str] = ()
    tick_s: float = 0.0

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        """Act on the listing. This comes once, the delay after the listing triggered a window."""

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        """Act on a trade that is seen now."""

    def on_tick(self, broker: Broker) -> None:
        """Act on the time."""

    def on_fill(self, fill: Fill, broker: Broker) -> None:
        """Act on a fill that is learned of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyPlugin:
    """A strategy that a plugin offers. about: one line that says what it does."""

    name: str
    create: type[Strategy]
    about: str
