"""Drop trades that another process has stored, while one collector takes over from another.

Both read the same trades for a while. The new collector holds them back; once the old one has ended, it drops the trades that
the old one stored. Later batches are compared too, because a lagging connection may bring a trade that the old process stored
some seconds ago.

A trade is identified by its instrument, time and id. The stored trades are sorted by a 64-bit hash of these, and equal hashes
are compared in full, so that a hash collision drops no trade.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import TradeBatch

MULTIPLIERS = tuple(np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                                                     0xD6E8FEB86659FD93))


class StoredOverlap:
    """The trades stored by an earlier process that this one may also receive. dropped: the number of dropped trades.

    The constructor sorts all of `stored`, and `without` takes time in proportion to its batch: use a worker for many trades.
    """

    def __init__(self, stored: TradeBatch) -> None:
        hashes = _hashes(stored)
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._instrument, self._timestamp = stored.instrument[order], stored.timestamp[order]
        self._trade_id, self._text_id = stored.trade_id[order], _texts(stored)[order]
        self._newest_ns = int(stored.timestamp.max(initial=-(2**63)))
        self.dropped = 0

    def without(self, batch: TradeBatch) -> TradeBatch:
        """Return the rows that are not stored (by instrument, id and time), in order."""
        if not len(self._hashes) or not len(batch) or int(batch.timestamp.min()) > self._newest_ns:
            return batch
        hashes = _hashes(batch)
        at = np.searchsorted(self._hashes, hashes).clip(0, len(self._hashes) - 1)
        texts = _texts(batch)
        again = ((self._hashes[at] == hashes) & (self._instrument[at] == batch.instrument)
                 & (self._timestamp[at] == batch.timestamp) & (self._text_id[at] == texts)
                 & ((self._trade_id[at] == batch.trade_id) | (texts != b"")))
        if not again.any():
            return batch
        self.dropped += int(again.sum())
        return batch.take(~again)


def _texts(batch: TradeBatch) -> NDArray[np.bytes_]:
    return np.zeros(len(batch), "S1") if batch.text_id is None else batch.text_id


def _hashes(batch: TradeBatch) -> NDArray[np.uint64]:
    """Return a hash of each row's instrument, time and id; the id is its text where it has one."""
    texts = _texts(batch)
    numbers = np.where(texts == b"", batch.trade_id, 0).astype(np.uint64)
    mixed: NDArray[np.uint64] = (batch.instrument.astype(np.uint64) * MULTIPLIERS[0]
                                 ^ batch.timestamp.astype(np.uint64) * MULTIPLIERS[1] ^ numbers * MULTIPLIERS[2])
    if batch.text_id is not None and len(batch):
        for column in np.ascontiguousarray(texts).view(np.uint8).reshape(len(batch), -1).T:
            mixed = np.where(column == 0, mixed, (mixed ^ column) * MULTIPLIERS[3])  # padding does not count
    return mixed ^ (mixed >> np.uint64(29))
