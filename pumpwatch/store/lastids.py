"""The last trade id and timestamp of every instrument, as the journal has them.

Kept by the run's numbers, stored by name: the next run numbers its instruments anew.
"""

from __future__ import annotations

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.store.codec import run_starts

Name = tuple[str, str, str]  # exchange, market_type, symbol
LastId = tuple[int, int]  # trade id, timestamp

_NONE = -(2**63)
_DECODER = msgspec.msgpack.Decoder(list[tuple[str, str, str, int, int]])


class LastIds:
    """The highest id and timestamp seen of each instrument. One thread."""

    def __init__(self, carried: dict[Name, LastId] | None = None) -> None:
        """Start from what earlier runs left."""
        self._carried = dict(carried or {})
        self._highest = np.full((2, 0), _NONE, np.int64)

    def note(self, batch: TradeBatch) -> None:
        """Move on by a batch that is grouped by instrument."""
        starts = run_starts(batch.instrument)
        if not len(starts):
            return
        ids = batch.instrument[starts]
        top = int(ids[-1])
        if top >= self._highest.shape[1]:
            more = top * 2 + 64 - self._highest.shape[1]
            self._highest = np.pad(self._highest, ((0, 0), (0, more)), constant_values=_NONE)
        for row, column in zip(self._highest, (batch.trade_id, batch.timestamp), strict=True):
            row[ids] = np.maximum(row[ids], np.maximum.reduceat(column, starts))

    def by_name(self, catalogue: Catalogue) -> dict[Name, LastId]:
        """Return all of it."""
        ids: NDArray[np.intp] = (self._highest[1] != _NONE).nonzero()[0]
        known = dict(self._carried)
        for name, number, at in zip(catalogue.names(ids.tolist()), *self._highest[:, ids].tolist(), strict=True):
            before = known.get(name, (number, at))
            known[name] = max(number, before[0]), max(at, before[1])
        return known

    def pack(self, catalogue: Catalogue) -> bytes:
        """Return it as bytes for `unpack`."""
        rows = [(*name, *last) for name, last in self.by_name(catalogue).items()]
        return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(rows))


def unpack(packed: bytes) -> dict[Name, LastId]:
    """Undo `pack`. Raises ValueError for damaged bytes."""
    try:
        rows = _DECODER.decode(zstandard.ZstdDecompressor().decompress(packed))
    except (zstandard.ZstdError, msgspec.DecodeError, TypeError) as error:
        raise ValueError(f"the last ids are damaged: {error}") from error
    return {(exchange, market_type, symbol): (number, at) for exchange, market_type, symbol, number, at in rows}
