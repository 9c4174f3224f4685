"""Order the work on symbols of gaps."""

from __future__ import annotations

from collections.abc import Container
from heapq import heapify, heappop, heappush
from itertools import chain, count

from pumpwatch.backfill.work import GapWork, Rank
from pumpwatch.clock import NS_PER_S

UNLISTED = 1 << 30
Entry = tuple[Rank, int, GapWork]  # rank, place, work; works with equal ranks keep the order in which they were added
TOGETHER_NS = 120 * NS_PER_S  # gaps of one such period are filled together: their queries read the same part of the store


def rank(work: GapWork, volume: float, window: int) -> Rank:
    """Return a work's rank; the lowest comes first.

    window: the place of the coin's listing window, the oldest first; UNLISTED without one. Windows come first, then jumps in
    ids, which are exact and settle other gaps of their symbol, then the newest gaps, which short histories still reach. Among
    these, the most traded symbols come first, because their histories move on fastest.
    """
    return window, 0 if work.by_jump else 1, -(work.gap.from_ns // TOGETHER_NS), -volume, work.gap.from_ns


class WorkOrder:
    """A priority queue of works by rank. Only one work of each instrument can be taken at a time.

    `add`, `take` and `give_back` are O(log n).
    """

    def __init__(self) -> None:
        self._left: dict[int, list[Entry]] = {}  # instrument -> heap
        self._heads: list[Entry] = []  # a heap of the first entries of idle instruments, and of outdated entries
        self._later: list[tuple[float, Entry]] = []  # a heap by the time from which they may be taken
        self._taken: dict[int, Entry] = {}  # by instrument
        self._places = count()

    @property
    def busy(self) -> Container[int]:
        """Return the instruments with a taken work."""
        return self._taken

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._left.values()))

    def add(self, work: GapWork) -> None:
        """Add a work. Its rank stays as it is until `renew`."""
        self._add((work.rank, next(self._places), work))

    def _add(self, entry: Entry) -> None:
        number = entry[2].number
        left = self._left.setdefault(number, [])
        heappush(left, entry)
        if left[0] is entry:
            self._show_head(number)

    def _show_head(self, number: int) -> None:
        left = self._left.get(number)
        if left and number not in self._taken:
            heappush(self._heads, left[0])

    def take(self, now_s: float) -> GapWork | None:
        """Take the first work that may be done at this monotonic time; return None without any."""
        while self._later and self._later[0][0] <= now_s:
            self._add(heappop(self._later)[1])
        while self._heads:
            entry = heappop(self._heads)
            work = entry[2]
            left = self._left.get(work.number)
            if work.number in self._taken or not left or left[0] is not entry:
                continue  # outdated
            heappop(left)
            if not work.done and work.not_before <= now_s:
                self._taken[work.number] = entry
                return work
            if not work.done:
                heappush(self._later, (work.not_before, entry))
            self._show_head(work.number)
        return None

    def give_back(self, work: GapWork) -> None:
        """Give back a taken work. Unless it is done, it may be taken again from its `not_before` on."""
        entry = self._taken.pop(work.number)
        if not work.done:
            self._add((work.rank, *entry[1:]))
        self._show_head(work.number)

    def renew(self) -> None:
        """Order all works by their current ranks, and forget finished works."""
        entries = chain((entry for _, entry in self._later), *self._left.values())
        fresh = [(work.rank, place, work) for _, place, work in entries if not work.done]
        self._left, self._heads, self._later = {}, [], []
        for entry in fresh:
            self._left.setdefault(entry[2].number, []).append(entry)
        for number, left in self._left.items():
            heapify(left)
            self._show_head(number)
