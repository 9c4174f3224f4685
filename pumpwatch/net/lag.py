"""Measures the time between a trade and its arrival, by venue."""

from __future__ import annotations

from collections import deque

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Int64, TradeBatch

AHEAD_NS = 3600 * NS_PER_S  # ahead of the others: far more than the trades of a venue differ
FEW = 100  # ages that are sorted faster as a list
READS = 5  # a read of a slow venue may be a single trade that was reported late; two of those in five change nothing


class Lag:
    """The usual time between a trade (the venue's clock) and its arrival (ours); negative if our clock is behind.

    It is the median of the last reads' medians: a lasting delay shows after some reads, a single late trade never does. The
    pipeline records it; it is used to size gaps.
    """

    def __init__(self) -> None:
        self._medians: deque[int] = deque(maxlen=READS)
        self.ns = 0  # the usual lag; 0 before the first trade

    def record(self, ages: Int64) -> int:
        """Record the ages on arrival, in ns, of one read's trades, at least one; return the lowest. Reorders `ages`."""
        middle = len(ages) // 2
        if len(ages) <= FEW:
            in_order: list[int] = sorted(ages.tolist())
            lowest, median = in_order[0], in_order[middle]
        else:
            ages.partition(middle)
            lowest, median = int(ages[: middle + 1].min()), int(ages[middle])
        self._medians.append(median)
        self.ns = sorted(self._medians)[(len(self._medians) - 1) // 2]
        return lowest

    def far_ahead(self, lowest: int) -> bool:
        """Return whether a trade of this age is dated hours ahead of the others."""
        return lowest < self.ns - AHEAD_NS

    def corrected_times(self, batch: TradeBatch) -> Int64 | None:
        """Return the batch's times, corrected for trades that are dated hours ahead of the others; None without such trades.

        The corrected time is the arrival by the venue's clock.
        """
        age = batch.received_at - batch.timestamp
        usual = self.ns if self._medians else min(0, int(np.median(age)))
        if int(age.min()) >= usual - AHEAD_NS:
            return None
        return np.where(age < usual - AHEAD_NS, batch.received_at - usual, batch.timestamp)
