"""The exit rules of a run: close a position after a time, at a target, or when the price falls back from its best.

The rules see only what the strategy sees, at the same time, and their orders have the same latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pumpwatch.clock import NS_PER_S
from pumpwatch.paper.broker import PaperBroker
from pumpwatch.paper.results import ExitRules
from pumpwatch.strategy import Fill

NEVER = 2**63 - 1


@dataclass(slots=True)
class _Watched:
    """A position: when its first fill became known, its direction, its mean entry price, and the best price since.

    target, stop: the prices at which it is closed. A price between floor and ceiling has no effect.
    """

    since: int
    sign: int
    entry: float
    quantity: float
    best: float
    closing: bool = False
    target: float = 0.0
    stop: float = 0.0
    floor: float = float("inf")
    ceiling: float = float("-inf")

    def aim(self, rules: ExitRules) -> None:
        """Set the prices that follow from the entry and the best price."""
        back, gain = rules.trailing_stop_percent, rules.target_percent
        never = float("inf") * self.sign
        self.target = never if gain is None else self.entry * (1 + self.sign * gain / 100)
        self.stop = -never if back is None else self.best * (1 - self.sign * back / 100)
        nearer = self.target if back is None else min(self.best * self.sign, self.target * self.sign) * self.sign
        self.floor, self.ceiling = (self.stop, nearer) if self.sign > 0 else (nearer, self.stop)


class Exits:
    """The exit rules of one replay. watched: the markets with a position."""

    def __init__(self, rules: ExitRules, broker: PaperBroker) -> None:
        self._rules, self._broker = rules, broker
        self._hold_ns = NEVER if rules.hold_s is None else round(rules.hold_s * NS_PER_S)
        self.watched: dict[str, _Watched] = {}

    @property
    def due_at(self) -> int:
        """Return when the next position reaches its holding time."""
        if self._hold_ns == NEVER:
            return NEVER
        return min((found.since + self._hold_ns for found in self.watched.values() if not found.closing), default=NEVER)

    def learn(self, fill: Fill, held: Decimal, now_ns: int) -> None:
        """Apply a fill, after which the position is `held`."""
        found, price = self.watched.get(fill.market), float(fill.price)
        if not held:
            self.watched.pop(fill.market, None)
            return
        sign = 1 if held > 0 else -1
        if found is None or found.sign != sign:
            self.watched[fill.market] = _Watched(now_ns, sign, price, abs(float(held)), price)
        elif (fill.side == "buy") == (sign > 0):
            added = float(fill.quantity)
            found.entry = (found.entry * found.quantity + price * added) / (found.quantity + added)
        self.watched[fill.market].quantity = abs(float(held))
        self.watched[fill.market].aim(self._rules)

    def on_price(self, market: str, price: float) -> None:
        """Apply the price of a trade on a watched market: close the position if a rule demands it."""
        found = self.watched[market]
        if found.closing or found.floor < price < found.ceiling:
            return
        if (price - found.best) * found.sign > 0:
            found.best = price
            found.aim(self._rules)
        if (price - found.target) * found.sign >= 0:
            self._close(market, found, "target")
        elif (price - found.stop) * found.sign <= 0:
            self._close(market, found, "trailing_stop")

    def expire(self, now_ns: int) -> None:
        """Close the positions that have reached their holding time."""
        for market, found in list(self.watched.items()):
            if not found.closing and found.since + self._hold_ns <= now_ns:
                self._close(market, found, "time")

    def retry(self, market: str) -> None:
        """Let the rules send another closing order, since the last one has ended."""
        if market in self.watched:
            self.watched[market].closing = False

    def _close(self, market: str, found: _Watched, tag: str) -> None:
        found.closing = True
        self._broker.cancel_all(market)
        self._broker.close_by(tag, market)
