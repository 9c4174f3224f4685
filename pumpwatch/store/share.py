"""Choose the instruments of a sink that gets only a share of them.

Each instrument has a bucket from 0 to 99 that only depends on its exchange, market type and symbol. A share of 10 % means the
buckets 0 to 9, so a larger share contains a smaller one, on every machine and after every restart.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch

WHOLE = 100  # percent
Name = tuple[str, str, str]  # exchange, market_type, symbol


def bucket_of(name: Name) -> int:
    """Return the bucket of an instrument, 0 to 99."""
    return int.from_bytes(blake2b("\0".join(name).encode(), digest_size=8).digest(), "big") % WHOLE


class Share:
    """The instruments of a catalogue whose buckets are below `percent` (0 to 100). Any thread may use it."""

    def __init__(self, catalogue: Catalogue, percent: int = WHOLE) -> None:
        self._catalogue, self.percent = catalogue, percent
        self._buckets: NDArray[np.uint8] = np.empty(0, np.uint8)  # of each instrument id

    def buckets(self) -> NDArray[np.uint8]:
        """Return the bucket of each known instrument, by id."""
        known, found = len(self._catalogue), self._buckets
        if len(found) < known:
            fresh = [bucket_of(name) for name in self._catalogue.names(range(len(found), known))]
            self._buckets = found = np.concatenate((found, np.array(fresh, np.uint8)))
        return found

    def of(self, batch: TradeBatch) -> TradeBatch:
        """Return the trades of the chosen instruments, in order; the batch itself if that is all of them."""
        if self.percent >= WHOLE:
            return batch
        chosen = (self.buckets() < self.percent)[batch.instrument]
        return batch if chosen.all() else batch.take(chosen)

    def ids(self) -> list[int]:
        """Return the ids of the chosen instruments, ascending."""
        found: list[int] = np.flatnonzero(self.buckets() < self.percent).tolist()
        return found
