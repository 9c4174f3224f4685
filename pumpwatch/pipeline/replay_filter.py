"""Last trades that a venue pushes on subscribing, however old they are, as if they had just happened.

Nothing in the frame tells them from new ones; their age does. Where trades of the symbol were seen before, the ids
decide: a known one is a double, an unknown one is a trade that was missed, and neither is a sign of life. Where
none was seen, such a trade is history and left out, since recording starts where it starts: kept as the first trade, it
could open a gap up to the next one that nobody lost.

Where nothing but old trades comes for a while, they are no history: our clock is wrong, or the venue late.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Int64, TradeBatch
from pumpwatch.pipeline.parse import Parsed

OLD_NS = 5 * NS_PER_S  # far more than a trade is on its way
ALL_OLD_NS = 10 * NS_PER_S  # after so long without a young trade, age tells nothing


class ReplayFilter:
    """Sorts old pushes out. `last_ids(instruments)` gives the last id seen of each, below 0 where there was none."""

    def __init__(self, last_ids: Callable[[NDArray[np.int32]], Int64]) -> None:
        self._last_ids = last_ids
        self._left_out: dict[int, int] = {}  # instrument -> the id that was; with a wrong clock no more than this one is lost
        self._all_old_since_ns = 0  # when the first of the old trades came after which none was young; 0: the last was

    def sort_out(self, parsed: Parsed) -> Parsed:
        """Return the rows without what is left out; `past` then names the history among them."""
        batch = parsed.batch
        old = batch.received_at - batch.timestamp > OLD_NS
        if not old.any():
            self._all_old_since_ns = 0
            return parsed
        past = old if self._history(batch, old) else np.zeros_like(old)
        rows = np.flatnonzero(old)
        keep = np.ones(len(batch), np.bool_)
        last_ids = self._last_ids(batch.instrument[rows]).tolist()
        for row, last in zip(rows.tolist(), last_ids, strict=True):
            instrument, trade_id = int(batch.instrument[row]), int(batch.trade_id[row])
            past[row] |= trade_id <= last
            if last >= 0 or (keep[:row] & (batch.instrument[:row] == instrument)).any():
                continue
            if self._left_out.setdefault(instrument, trade_id) >= trade_id:
                keep[row] = False
        return Parsed(batch, parsed.void, past).take(keep)

    def _history(self, batch: TradeBatch, old: NDArray[np.bool_]) -> bool:
        """Return whether old rows are history: young ones came with them, or not long before."""
        if not old.all():
            self._all_old_since_ns = 0
            return True
        self._all_old_since_ns = self._all_old_since_ns or int(batch.received_at[0])
        return int(batch.received_at[-1]) - self._all_old_since_ns < ALL_OLD_NS
