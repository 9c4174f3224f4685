"""The trades of a market in the order in which a strategy sees them: the last price and the volume at any time."""

from __future__ import annotations

import numpy as np

from pumpwatch.model import Float64, Int64


class SeenMarket:
    """The seen trades of one market. seen_at: ascending ns at which trades are seen, with their prices and quantities."""

    def __init__(self, seen_at: Int64, price: Float64, quantity: Float64) -> None:
        self._seen_at, self._price = seen_at, price
        self._volume = np.concatenate(([0.0], np.cumsum(price * quantity)))

    def last(self, now_ns: int) -> float | None:
        """Return the price of the last trade seen by then; None before the first."""
        row = int(self._seen_at.searchsorted(now_ns, "right")) - 1
        return None if row < 0 else float(self._price[row])

    def volume(self, now_ns: int) -> float:
        """Return the quote volume of the trades seen by then."""
        return float(self._volume[int(self._seen_at.searchsorted(now_ns, "right"))])
