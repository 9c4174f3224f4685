"""Which ids of a venue were seen where ids ascend and skip, so that a trade that comes again shows.

An id above the last one is new; that decides nearly always, without looking. What arrives at or below the last one is either late
(two connections overlap while one is renewed) or a repetition (some venues replay after a reconnect): the
ids of the last while tell. What is older than they are, or was stored by an earlier run, is a repetition.

The ids of all instruments go into one ring, so that taking them costs two copies a batch, and looking is one pass over two
columns for all instruments of a batch that ask: under a millisecond.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Int64

ROWS_KEPT = 200_000  # of all instruments together: 2.4 MB, about a minute of the busiest hours
NOBODY = -1


class AscendingIds:
    """The recent ids of every instrument whose ids ascend and skip."""

    def __init__(self, rows_kept: int = ROWS_KEPT) -> None:
        self._who: NDArray[np.int32] = np.full(rows_kept, NOBODY, np.int32)
        self._ids: Int64 = np.zeros(rows_kept, np.int64)
        self._at, self._filled = 0, 0
        self._floor: Int64 = np.empty(0, np.int64)  # by instrument: at or below this all was seen

    def grow(self, floors: Int64) -> None:
        """Add instruments, each with the last id that an earlier run stored, or a negative number."""
        self._floor = np.concatenate([self._floor, floors])

    def remember(self, instrument: NDArray[np.int32], ids: Int64) -> None:
        """Take the ids of a batch."""
        rows_kept = len(self._ids)
        while len(ids):
            count = min(len(ids), rows_kept - self._at)
            place = slice(self._at, self._at + count)
            self._forget(place)
            self._who[place], self._ids[place] = instrument[:count], ids[:count]
            self._at = (self._at + count) % rows_kept
            self._filled = max(self._filled, place.stop)
            instrument, ids = instrument[count:], ids[count:]

    def _forget(self, place: slice) -> None:
        if place.start >= self._filled:
            return
        who, ids = self._who[place], self._ids[place]
        held = who != NOBODY
        np.maximum.at(self._floor, who[held], ids[held])

    def restart(self, number: int) -> None:
        """Forget what is known of an instrument: its ids start anew."""
        self._floor[number] = -1
        self._who[self._who == number] = NOBODY

    def known(self, lowest: Mapping[int, int]) -> dict[int, set[int]]:
        """Return what is kept of these instruments: its ids from the given one on."""
        bounds = np.full(len(self._floor) + 1, np.iinfo(np.int64).max)  # the last one is nobody's
        bounds[list(lowest)] = list(lowest.values())
        who, ids = self._who[: self._filled], self._ids[: self._filled]
        rows = np.flatnonzero(ids >= bounds[who])
        known: dict[int, set[int]] = {number: set() for number in lowest}
        for number, one in zip(who[rows].tolist(), ids[rows].tolist(), strict=True):
            known[number].add(one)
        return known

    def is_new(self, number: int, one: int, known: set[int]) -> bool:
        """Return whether an id at or below the last one is a late one."""
        return one > self._floor[number] and one not in known
