"""Drop trades that another process has stored, while one collector takes over from another.

Both read the same trades for a while. The new one holds them back, and once the old one has ended, drops those that the store
has. Later batches are compared too: a connection that lags may bring a trade that the old process stored some seconds ago.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import TradeBatch


class StoredOverlap:
    """The trades stored by an earlier process that this one may receive as well. `dropped`: how many it did."""

    def __init__(self, stored: TradeBatch) -> None:
        self._stored = stored.take(np.argsort(stored.timestamp, kind="stable"))
        self.dropped = 0

    def without(self, batch: TradeBatch) -> TradeBatch:
        """Return the rows whose instrument, id and time no stored trade has, in order."""
        times = self._stored.timestamp
        if not len(times) or not len(batch) or batch.timestamp.min() > times[-1]:
            return batch
        first, last = (np.searchsorted(times, batch.timestamp, side) for side in ("left", "right"))
        counts = last - first  # stored trades of the same moment
        rows = np.repeat(np.arange(len(batch)), counts)
        beside = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        again = rows[self._equal(batch.take(rows), self._stored.take(beside))]
        if not len(again):
            return batch
        keep = np.ones(len(batch), np.bool_)
        keep[again] = False
        self.dropped += len(batch) - int(keep.sum())
        return batch.take(keep)

    @staticmethod
    def _equal(received: TradeBatch, stored: TradeBatch) -> NDArray[np.bool_]:
        """Return for each pair of rows whether they have one instrument and id."""
        same: NDArray[np.bool_] = received.instrument == stored.instrument
        texts, stored_texts = (np.zeros(len(batch), "S1") if batch.text_id is None else batch.text_id
                               for batch in (received, stored))
        same &= texts == stored_texts
        same &= (received.trade_id == stored.trade_id) | (texts != b"")
        return same
