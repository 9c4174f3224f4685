"""Keep the last trade id and the newest time of every instrument in the journal.

They are kept by instrument number and stored by name, because each run has its own numbers. The last id is the highest one,
until a venue resets its ids: then a lower id, of a trade some seconds newer than all before, becomes the last one. Dedupe
distinguishes repeated from new trades by the same rule, so the next run continues where this one ended.
"""

from __future__ import annotations

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Int64, TradeBatch
from pumpwatch.pipeline.seen_ids import RESTART_NS
from pumpwatch.store.codec import run_starts

Name = tuple[str, str, str]  # exchange, market_type, symbol
LastId = tuple[int, int]  # trade id, timestamp

_NONE = -(2**63)
_DECODER = msgspec.msgpack.Decoder(list[tuple[str, str, str, int, int]])


class LastIds:
    """The last id and the newest timestamp of each instrument. Use it from one thread."""

    def __init__(self, catalogue: Catalogue, carried: dict[Name, LastId] | None = None) -> None:
        """Start from the last ids of earlier runs."""
        self._catalogue, self._carried = catalogue, dict(carried or {})
        self._last = np.full((2, 0), _NONE, np.int64)

    def record(self, batch: TradeBatch, starts: Int64 | None = None) -> None:
        """Record a batch that is grouped by instrument, each group in order of arrival. starts: first row of each group."""
        if starts is None:
            starts = run_starts(batch.instrument)
        if not len(starts):
            return
        who = batch.instrument[starts]
        self._grow(int(who[-1]))
        last, newest = self._last[0, who], self._last[1, who]
        highest, latest = np.maximum.reduceat(batch.trade_id, starts), np.maximum.reduceat(batch.timestamp, starts)
        since = np.where(newest == _NONE, batch.timestamp[starts], newest)
        reset = latest > since + RESTART_NS
        if reset.any():
            reset &= np.minimum.reduceat(batch.trade_id, starts) < np.maximum(last, highest)
        self._last[0, who], self._last[1, who] = np.maximum(last, highest), np.maximum(newest, latest)
        ends = np.append(starts[1:], len(batch))
        for at in reset.nonzero()[0].tolist():
            rows = slice(int(starts[at]), int(ends[at]))
            self._last[0, who[at]] = _walk(int(last[at]), int(newest[at]), batch.trade_id[rows].tolist(),
                                           batch.timestamp[rows].tolist())

    def pass_over(self, number: int, last: LastId) -> None:
        """Record an id of a row without a trade, unless the venue has reset its ids since."""
        self._grow(number)
        before_id, newest_ns = self._last[:, number].tolist()
        if last[1] >= newest_ns - RESTART_NS:
            self._last[:, number] = max(before_id, last[0]), max(newest_ns, last[1])

    def merge(self, late: dict[Name, LastId]) -> None:
        """Add the last ids of trades that were stored before some recorded ones.

        The newer time decides, because the venue may have reset its ids in between; if both times are close, the higher id does.
        """
        for name, last in late.items():
            number = self._catalogue.ids_of(name[:2]).get(name[2])
            if number is None:
                known = self._carried.get(name)
                self._carried[name] = last if known is None else _later(known, last)
            else:
                self._grow(number)
                before_id, newest_ns = self.of(number)
                self._last[:, number] = _later((before_id, newest_ns), last)

    def of(self, number: int) -> LastId:
        """Return the last id and the newest time of a recorded instrument."""
        last_id, newest_ns = self._last[:, number].tolist()
        return last_id, newest_ns

    def _grow(self, top: int) -> None:
        known = self._last.shape[1]
        if top < known:
            return
        count = max(top + 1, len(self._catalogue))
        self._last = np.pad(self._last, ((0, 0), (0, count - known)), constant_values=_NONE)
        if self._carried:
            for number, name in enumerate(self._catalogue.names(range(known, len(self._catalogue))), known):
                if name in self._carried:
                    self._last[:, number] = self._carried[name]

    def by_name(self) -> dict[Name, LastId]:
        """Return the last ids of all instruments, including those of earlier runs."""
        ids: NDArray[np.intp] = (self._last[1] != _NONE).nonzero()[0]
        names = self._catalogue.names(ids.tolist())
        return {**self._carried, **dict(zip(names, zip(*self._last[:, ids].tolist(), strict=True), strict=True))}

    def pack(self) -> bytes:
        """Return all last ids as bytes, for `unpack`."""
        rows = [(*name, *last) for name, last in self.by_name().items()]
        return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(rows))


def _later(known: LastId, late: LastId) -> LastId:
    """Merge two last ids that were recorded separately."""
    if abs(known[1] - late[1]) > RESTART_NS:
        return max(known, late, key=lambda last: last[1])
    return max(known[0], late[0]), max(known[1], late[1])


def _walk(last: int, newest: int, ids: list[int], times: list[int]) -> int:
    """Return the last id after these trades, in order of arrival."""
    for trade_id, at_ns in zip(ids, times, strict=True):
        if trade_id > last or (newest != _NONE and at_ns > newest + RESTART_NS):
            last = trade_id
        newest = max(newest, at_ns)
    return last


def unpack(packed: bytes) -> dict[Name, LastId]:
    """Return the last ids that `pack` encoded. Raises ValueError for damaged bytes."""
    try:
        rows = _DECODER.decode(zstandard.ZstdDecompressor().decompress(packed))
    except (zstandard.ZstdError, msgspec.DecodeError, TypeError) as error:
        raise ValueError(f"the last ids are damaged: {error}") from error
    return {(exchange, market_type, symbol): (number, at) for exchange, market_type, symbol, number, at in rows}
