"""Which ids of a contiguous venue are still missing.

A venue with contiguous ids proves completeness: every id between the first and the last one seen was seen, except for the
ranges kept here. A range opens when an id jumps, shrinks when a late trade arrives, and is a Gap record from the first moment.
"""

from __future__ import annotations

from bisect import bisect_right

RANGES_KEPT = 1000  # of an instrument; older ones are given up (their Gap records stay)


class MissingIds:
    """The ids of one instrument that were skipped, as ascending ranges [first, last]."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def open(self, first: int, last: int) -> None:
        """Remember that [first, last] was skipped; it lies beyond every range known."""
        self._ranges.append((first, last))
        if len(self._ranges) > RANGES_KEPT:
            del self._ranges[0]

    def open_before(self, first: int, last: int) -> None:
        """The same for a range before every range known."""
        self._ranges.insert(0, (first, last))

    def find(self, number: int) -> bool:
        """Return whether this id was missing, and take it out if so."""
        at = bisect_right(self._ranges, (number, 2**63)) - 1
        if at < 0:
            return False
        first, last = self._ranges[at]
        if number > last:
            return False
        self._ranges[at : at + 1] = [part for part in ((first, number - 1), (number + 1, last)) if part[0] <= part[1]]
        return True

    def holds_any(self, first: int, last: int) -> bool:
        """Return whether any id of [first, last] is still missing."""
        return any(low <= last and first <= high for low, high in self._ranges)
