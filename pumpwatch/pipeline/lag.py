"""How late a venue's trades arrive."""

from __future__ import annotations

from collections import deque

from pumpwatch.model import Int64

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

    def take(self, ages: Int64) -> None:
        """Take in by how much the trades of a read (at least one) arrived later than they happened; sorts `ages`."""
        middle = len(ages) // 2
        ages.partition(middle)
        self._medians.append(int(ages[middle]))
