"""Keep the skipped ids of a contiguous venue.

Contiguous ids prove completeness: every id between the first and the last seen id was seen, except for the ranges kept here. A
range opens when an id jumps, shrinks when a late trade arrives, and has a Gap record from the first moment.
"""

from __future__ import annotations

from bisect import bisect_right, insort

RANGES_KEPT = 1000  # per instrument; beyond that, the lowest ranges are given up (their gaps stay open)


class SkippedIds:
    """The skipped ids of one instrument, as ascending ranges [first, last].

    Ranges up to `given_up` are forgotten, so a gap that begins there is never reported as filled.
    """

    __slots__ = ("_ranges", "_ranges_kept", "given_up")

    def __init__(self, ranges_kept: int = RANGES_KEPT) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._ranges_kept = ranges_kept
        self.given_up = -1

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def open(self, first: int, last: int) -> None:
        """Add the skipped range [first, last]; none of its ids may already be in a range."""
        insort(self._ranges, (first, last))
        self._trim()

    def _trim(self) -> None:
        over = len(self._ranges) - self._ranges_kept
        if over > 0:
            self.given_up = max(self.given_up, self._ranges[over - 1][1])
            del self._ranges[:over]

    def find(self, number: int) -> bool:
        """Remove an id; return whether it was missing."""
        at = bisect_right(self._ranges, (number, 2**63)) - 1
        if at < 0:
            return False
        first, last = self._ranges[at]
        if number > last:
            return False
        self._ranges[at : at + 1] = [part for part in ((first, number - 1), (number + 1, last)) if part[0] <= part[1]]
        self._trim()
        return True

    def holds(self, number: int) -> bool:
        """Return whether this id is missing."""
        at = bisect_right(self._ranges, (number, 2**63)) - 1
        return at >= 0 and number <= self._ranges[at][1]

    def holds_any(self, first: int, last: int) -> bool:
        """Return whether any id of [first, last] is missing, or was missing when it was given up."""
        at = bisect_right(self._ranges, (last, 2**63)) - 1
        return first <= self.given_up or (at >= 0 and self._ranges[at][1] >= first)
