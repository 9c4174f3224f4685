"""Which ids of a venue were seen where ids ascend and skip, so that a trade that comes again shows.

An id above the last one is new; that decides nearly always, without looking. What arrives at or below the last one is either late
(two connections overlap while one is renewed) or a repetition (some venues replay after a reconnect): the
ids of the last while tell. What is older than they are, or was stored by an earlier run, is a repetition.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Int64

ROWS_KEPT = 200_000  # of all instruments together: 3 MB, about a minute of the busiest hours


class AscendingIds:
    """The recent ids of every instrument whose ids ascend and skip."""

    def __init__(self, rows_kept: int = ROWS_KEPT) -> None:
        self._kept: deque[tuple[NDArray[np.int32], Int64]] = deque()
        self._rows, self._rows_kept = 0, rows_kept
        self._floor: Int64 = np.empty(0, np.int64)  # by instrument: at or below this all was seen

    def grow(self, floors: Int64) -> None:
        """Add instruments, each with the last id that an earlier run stored, or a negative number."""
        self._floor = np.concatenate([self._floor, floors])

    def remember(self, instrument: NDArray[np.int32], ids: Int64) -> None:
        """Take the ids of a batch."""
        self._kept.append((instrument, ids))
        self._rows += len(ids)
        while self._rows > self._rows_kept and len(self._kept) > 1:
            forgotten, numbers = self._kept.popleft()
            self._rows -= len(numbers)
            np.maximum.at(self._floor, forgotten, numbers)

    def fresh(self, number: int, last: int, ids: list[int]) -> list[bool]:
        """Return which of these ids of an instrument are new; `last` is the highest one before them."""
        floor = int(self._floor[number])
        known: set[int] = set()
        for instrument, numbers in self._kept:
            known.update(numbers[instrument == number].tolist())
        fresh = []
        for one in ids:
            new = one < 0 or one > last or (one > floor and one not in known)  # below 0: the id is text
            fresh.append(new)
            known.add(one)
            last = max(last, one)
        return fresh
