"""A paper-trading strategy: its callbacks, and the broker that takes its orders.

A strategy is a class that derives from `Strategy`, in a file of its own or in a plugin with the hook `paper_strategies`. Its
callbacks come in the order of the strategy's own time: it sees a trade at the trade's time of receipt plus the strategy's
latency, never earlier. Times are int ns since 1970, UTC; a market is a text such as `binance.spot:KITEUSDT`.
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
    """A fill of one of the strategy's orders. at: its time on the venue; the strategy gets it later."""

    at: int
    market: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    liquidity: str
    order_id: str


class Broker(Protocol):
    """Takes orders and answers queries, as of the strategy's own time. It rejects a bad order and never raises for it."""

    @property
    def now(self) -> int:
        """Return the strategy's own time."""

    @property
    def size(self) -> Decimal:
        """Return the intended quote amount of an entry."""

    @property
    def leverage(self) -> int:
        """Return the leverage of futures orders; it is 1 on spot."""

    @property
    def random(self) -> Random:
        """Return the random generator, which is seeded with the run's seed."""

    @property
    def markets(self) -> Sequence[str]:
        """Return every market of the coin, by name."""

    @property
    def cash(self) -> Decimal:
        """Return the free balance by the fills that the strategy has seen."""

    def market_type(self, market: str) -> str:
        """Return `spot` or `futures`; empty for an unknown market."""

    def last(self, market: str) -> float | None:
        """Return the price of a market's last seen trade, or None before the first.

        Takeovers and trades agreed outside the order book do not count, neither here nor in `volume`.
        """

    def volume(self, market: str) -> float:
        """Return the quote volume of a market's seen trades."""

    def position(self, market: str) -> Decimal:
        """Return the position in base units, negative for a short one, by the fills that the strategy has seen."""

    def open_orders(self) -> Sequence[str]:
        """Return the ids of the sent orders whose end the strategy has not seen."""

    def buy(self, market: str, quantity: Amount | None = None, *, quote: Amount | None = None, limit: Amount | None = None,
            immediate: bool = False, reduce_only: bool = False, leverage: int | None = None, stop: Amount | None = None,
            fill_or_kill: bool = False) -> str:
        """Send an order to buy, and return its id.

        quantity: in base units; or quote: an amount in USDT at the last seen price. limit: the highest price; None makes a market
        order. immediate: the order only takes, and the part not filled within 100 ms is cancelled. fill_or_kill: a recorded
        order book fills the whole order on arrival, or the order ends. stop: the limit order waits on the venue for a trade at
        or above this price. reduce_only: the order never takes the position beyond zero.
        """

    def sell(self, market: str, quantity: Amount | None = None, *, quote: Amount | None = None, limit: Amount | None = None,
             immediate: bool = False, reduce_only: bool = False, leverage: int | None = None, stop: Amount | None = None,
            fill_or_kill: bool = False) -> str:
        """Send an order to sell, as `buy` does. Spot sells only held coins; futures may open a short position.

        stop: the order waits for a trade at or below this price.
        """

    def close(self, market: str) -> str | None:
        """Send a market order that closes the position of a market; return its id, or None without a position."""

    def cancel(self, order_id: str) -> None:
        """Send the cancellation of an order. A part that is filled before the cancellation arrives stays filled."""


class Strategy:
    """Derive from this class and override the callbacks that you need. Each replay makes one object.

    watches: markets or venues (`binance.futures`) whose trades `on_trade` gets; empty: all. tick_s: seconds between two calls
    of `on_tick`; 0: never. `on_listing` is the first callback.
    """

    watches: Sequence[str] = ()
    tick_s: float = 0.0

    def on_listing(self, listing: Listing, broker: Broker) -> None:
        """React to the listing. Called once, when the run's delay after the trigger of the window has passed."""

    def on_trade(self, trade: SeenTrade, broker: Broker) -> None:
        """React to a trade that the strategy sees now."""

    def on_tick(self, broker: Broker) -> None:
        """React to the time; called every `tick_s` seconds."""

    def on_fill(self, fill: Fill, broker: Broker) -> None:
        """React to a fill that the strategy sees now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyPlugin:
    """A strategy that a plugin offers. about: a description in one line."""

    name: str
    create: type[Strategy]
    about: str
