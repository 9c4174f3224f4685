"""How late a venue's trades arrive."""

from __future__ import annotations

from collections import deque

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Int64, TradeBatch

AHEAD_NS = 3600 * NS_PER_S  # of the others: far more than the trades of a venue differ
READS = 5  # a read of a quiet venue may be one trade, reported late: two of five change nothing


class Lag:
    """The usual time between a trade and its arrival, by the two clocks: negative where ours is behind.

    It is the middle one of the last reads' medians: what keeps arriving late counts after some reads, a single trade does not.
    """

    def __init__(self) -> None:
        self._medians: deque[int] = deque(maxlen=READS)

    @property
    def ns(self) -> int:
        """Return it; 0 before the first trade."""
        return sorted(self._medians)[(len(self._medians) - 1) // 2] if self._medians else 0

    def record(self, ages: Int64) -> None:
        """Take in by how much the trades of a read (at least one) arrived later than they happened; sorts `ages`."""
        middle = len(ages) // 2
        ages.partition(middle)
        self._medians.append(int(ages[middle]))

    def settled(self, batch: TradeBatch) -> Int64 | None:
        """Return times to go by where some trades are hours ahead of the others: when they came, by the venue's clock.

        None where there are no such trades.
        """
        age = batch.received_at - batch.timestamp
        usual = self.ns if self._medians else min(0, int(np.median(age)))
        if int(age.min()) >= usual - AHEAD_NS:
            return None
        return np.where(age < usual - AHEAD_NS, batch.received_at - usual, batch.timestamp)
