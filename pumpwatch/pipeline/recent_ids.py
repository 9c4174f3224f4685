"""Remember recently seen ids, to recognise repeated trades.

Repetitions are normal: two connections bring the same trades while one is renewed, and some venues replay their last trades
after a reconnect. Only recent ids are kept. If ids ascend, an id at or below all kept ids counts as a repetition; if they have no
order, an older id counts as new.

If ids ascend and skip (AscendingIds), an id above the last one is new; that nearly always decides, without a search. The ids of
all instruments are in one ring, so that remembering them costs two copies per batch, and a search is one pass over two columns
for all instruments of a batch that need it: under a millisecond.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Int64

ROWS_KEPT = 200_000  # of all instruments together: 2.4 MB, about a minute of the busiest hours
NOBODY = -1
KEYS_KEPT = 40_000  # of unordered ids: of all instruments together, and never more than twice that: 8 to 16 MB


class AscendingIds:
    """The recent ids of every instrument whose ids ascend and skip."""

    def __init__(self, rows_kept: int = ROWS_KEPT) -> None:
        self._owners: NDArray[np.int32] = np.full(rows_kept, NOBODY, np.int32)
        self._ids: Int64 = np.zeros(rows_kept, np.int64)
        self._at, self._filled = 0, 0
        self._floor: Int64 = np.empty(0, np.int64)  # by instrument: every id at or below this counts as seen

    def grow(self, floors: Int64) -> None:
        """Add instruments, each with the last id that an earlier run stored, or a negative number."""
        self._floor = np.concatenate([self._floor, floors])

    def remember(self, instrument: NDArray[np.int32], ids: Int64) -> None:
        """Remember the ids of a batch."""
        rows_kept = len(self._ids)
        while len(ids):
            count = min(len(ids), rows_kept - self._at)
            place = slice(self._at, self._at + count)
            self._forget(place)
            self._owners[place], self._ids[place] = instrument[:count], ids[:count]
            self._at = (self._at + count) % rows_kept
            self._filled = max(self._filled, place.stop)
            instrument, ids = instrument[count:], ids[count:]

    def _forget(self, place: slice) -> None:
        if place.start >= self._filled:
            return
        owners, ids = self._owners[place], self._ids[place]
        owned = owners != NOBODY
        np.maximum.at(self._floor, owners[owned], ids[owned])

    def raise_floor(self, number: int, last_id: int) -> None:
        """Count every id of an instrument up to this one as seen."""
        self._floor[number] = max(int(self._floor[number]), last_id)

    def restart(self, number: int) -> None:
        """Forget the ids of an instrument, because the venue has restarted them."""
        self._floor[number] = -1
        self._owners[self._owners == number] = NOBODY

    def known(self, lowest: Mapping[int, int]) -> dict[int, set[int]]:
        """Return the recent ids of each of these instruments, from the given id on."""
        bounds = np.full(len(self._floor) + 1, np.iinfo(np.int64).max)  # the last bound is nobody's
        bounds[list(lowest)] = list(lowest.values())
        owners, ids = self._owners[: self._filled], self._ids[: self._filled]
        rows = np.flatnonzero(ids >= bounds[owners])
        known: dict[int, set[int]] = {number: set() for number in lowest}
        for number, trade_id in zip(owners[rows].tolist(), ids[rows].tolist(), strict=True):
            known[number].add(trade_id)
        return known

    def is_new(self, number: int, trade_id: int, known: set[int]) -> bool:
        """Return whether an id at or below the last one is new, so that its trade is late."""
        return trade_id > self._floor[number] and trade_id not in known


class UnorderedIds:
    """The recent ids of every instrument whose ids have no order, in two generations; the older one is dropped as a whole."""

    def __init__(self, kept: int = KEYS_KEPT) -> None:
        self._kept = kept
        self._young: set[Hashable] = set()
        self._old: set[Hashable] = set()

    def holds(self, key: Hashable) -> bool:
        """Return whether this key was seen recently."""
        return key in self._young or key in self._old

    def fresh(self, keys: Sequence[Hashable]) -> list[bool] | None:
        """Remember these keys; return which of them are new, or None if all are."""
        young, old, asked = self._young, self._old, set(keys)
        fresh: list[bool] | None = None
        if len(asked) == len(keys) and young.isdisjoint(asked) and old.isdisjoint(asked):
            young |= asked
        else:
            fresh = []
            for key in keys:
                fresh.append(key not in young and key not in old)
                young.add(key)
        if len(young) >= self._kept:
            self._old, self._young = young, set()
        return fresh
