"""Drop the last trades that a venue sends on subscribing as if they were new, however old they are.

Only their age reveals them. If trades of the symbol were seen before, the ids decide: a known id is a repetition, an unknown id
is a missed trade, and neither proves that the feed is alive. If no trade was seen before, the old trade is from before the
recording and is dropped: as the first trade it could open a gap up to the next one although nothing was lost.

If only old trades arrive for a while, they are not history: our clock is wrong, or the venue is late.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Int64, TradeBatch
from pumpwatch.pipeline.parse import Parsed

OLD_NS = 5 * NS_PER_S  # far longer than a trade takes to arrive
ALL_OLD_NS = 10 * NS_PER_S  # after this long without a young trade, age proves nothing


class ReplayFilter:
    """Drops old trades sent on subscribing. last_ids(instruments): returns the last seen id of each, below 0 without one."""

    def __init__(self, last_ids: Callable[[NDArray[np.int32]], Int64]) -> None:
        self._last_ids = last_ids
        self._left_out: dict[int, int] = {}  # instrument -> the dropped id, so that a wrong clock only loses this one trade
        self._all_old_since_ns = 0  # when the current run of only old trades began; 0: the last trade was young

    def sort_out(self, parsed: Parsed) -> Parsed:
        """Return the rows to keep; `past` marks history among them."""
        batch = parsed.batch
        old = batch.received_at - batch.timestamp > OLD_NS
        if not old.any():
            self._all_old_since_ns = 0
            return parsed
        past = old if self._is_history(batch, old) else np.zeros_like(old)
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

    def _is_history(self, batch: TradeBatch, old: NDArray[np.bool_]) -> bool:
        """Return whether old rows are history: young ones came with them, or not long before."""
        if not old.all():
            self._all_old_since_ns = 0
            return True
        self._all_old_since_ns = self._all_old_since_ns or int(batch.received_at[0])
        return int(batch.received_at[-1]) - self._all_old_since_ns < ALL_OLD_NS
