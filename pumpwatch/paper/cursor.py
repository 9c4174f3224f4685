"""Step through the trades of one market, skipping those that can neither fill an order nor liquidate a position."""

from __future__ import annotations

import numpy as np

from pumpwatch.paper.tape import MarketTrades

NEVER = 2**63 - 1
ROWS = 4096  # rows searched at a time
NOWHERE, ANYWHERE = float("-inf"), float("inf")


class Cursor:
    """Finds the next trade of one market that may have an effect. next_at: its time; NEVER at the end."""

    def __init__(self, number: int, trades: MarketTrades) -> None:
        self.number, self.trades = number, trades
        self.next_at = NEVER
        self._place = 0

    def seek(self, after_ns: int, low: float, high: float) -> None:
        """Go to the first trade after a time whose price is at most `low` or at least `high`."""
        self._aim(int(self.trades.timestamp.searchsorted(after_ns, "right")), low, high)

    def forward(self, low: float, high: float) -> None:
        """Go to the next such trade after the present one."""
        self._aim(self._place + 1, low, high)

    def row(self) -> tuple[int, float, float, int]:
        """Return time, price, quantity and side of the present trade."""
        trades, place = self.trades, self._place
        return self.next_at, float(trades.price[place]), float(trades.quantity[place]), int(trades.side[place])

    def _aim(self, place: int, low: float, high: float) -> None:
        price = self.trades.price
        while place < len(price) and low < ANYWHERE:
            piece = price[place:place + ROWS]
            hits = (piece <= low) | (piece >= high)
            first = int(np.argmax(hits))
            if hits[first]:
                place += first
                break
            place += len(piece)
        self._place = place
        self.next_at = int(self.trades.timestamp[place]) if place < len(price) else NEVER
