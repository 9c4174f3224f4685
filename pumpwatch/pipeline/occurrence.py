"""Telling trades apart where a venue sends no ids.

Such a venue's parser gives a text that is equal for equal trades (side, price, quantity). Equal trades at the same
nanosecond are legitimate, so the nth of them gets the suffix `#n`. Rows sent as history on subscribing repeat what was seen
live: the nth of equal rows there is new only when fewer than n were seen. History of a symbol never seen before is
left out, and counted: recording starts where that history ends, and what is older is never taken up later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap, TradeBatch

KEPT = 2000  # distinct trades remembered of an instrument: twice what a venue sends as history

Key = tuple[int, bytes]


class _Known:
    """What was seen of one instrument: how often each trade, from `floor` on, and the time of the last one."""

    __slots__ = ("counts", "floor", "last_ns")

    def __init__(self, last_ns: int) -> None:
        self.counts: dict[Key, int] = {}
        self.last_ns = last_ns
        self.floor = last_ns + 1  # history before this was seen, or cannot be told from what was, or is older than recording

    def begin(self, rows: Sequence[Key]) -> None:
        """Start recording behind this history: whatever comes now is new, save what is its newest moment again."""
        self.last_ns = self.floor = max(at_ns for at_ns, _ in rows)
        for key in rows:
            if key[0] == self.last_ns:
                self.add(key)

    def add(self, key: Key) -> int:
        """Count one more of these trades; return how many there were before."""
        before = self.counts.pop(key, 0)
        self.counts[key] = before + 1
        if len(self.counts) > KEPT:
            oldest = next(iter(self.counts))
            del self.counts[oldest]
            self.floor = max(self.floor, oldest[0] + 1)
        return before


class Occurrences:
    """Numbers equal trades of the venues without ids. `recovered` gives the time of each symbol's last stored trade."""

    def __init__(self, catalogue: Catalogue, recovered: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        self._catalogue, self._recovered = catalogue, recovered
        self._known: dict[int, _Known] = {}
        self.left_out = 0  # rows of history that were known, or out of reach

    def number(self, batch: TradeBatch, past: NDArray[np.bool_] | None) -> tuple[TradeBatch, list[Gap]]:
        """Return the trades that are new, with ids that tell them apart, and the gaps that history did not close."""
        assert batch.text_id is not None
        gaps: list[Gap] = []
        if past is not None and past.any():
            gaps = self._gaps(batch, past)
        keep = np.ones(len(batch), np.bool_)
        texts: list[bytes] = batch.text_id.tolist()
        moments: dict[int, tuple[int, dict[bytes, int]]] = {}  # of each instrument, the equal rows of one ns of history
        rows = zip(batch.instrument.tolist(), batch.timestamp.tolist(), texts, strict=True)
        history = [False] * len(batch) if past is None else past.tolist()
        self._begin(batch, past, texts, keep)
        for row, (instrument, at_ns, text) in enumerate(rows):
            known = self._of(instrument)
            key = (at_ns, text)
            if history[row]:
                keep[row] &= at_ns >= known.floor
                if not keep[row]:
                    continue
                moment, equal = moments.get(instrument, (-1, {}))
                if moment != at_ns:  # a second history in one batch goes back in time, and is counted anew
                    moments[instrument] = at_ns, (equal := {})
                nth = equal.get(text, 0)
                equal[text] = nth + 1
                if nth < known.counts.get(key, 0):
                    keep[row] = False
                    continue
            if known.last_ns < 0:
                known.floor = at_ns
            before = known.add(key)
            if before:
                texts[row] = text + b"#%d" % before
            known.last_ns = max(known.last_ns, at_ns)
        self.left_out += int(len(keep) - keep.sum())
        columns: list[Any] = [*batch.columns()[:-1], np.array(texts)]
        fresh = TradeBatch(*columns)
        return (fresh if keep.all() else fresh.take(keep)), gaps

    def _begin(self, batch: TradeBatch, past: NDArray[np.bool_] | None, texts: list[bytes],
               keep: NDArray[np.bool_]) -> None:
        """Leave out the history of the symbols that were never seen before, and start behind it."""
        if past is None:
            return
        for instrument in np.unique(batch.instrument[past]).tolist():
            known = self._of(instrument)
            if known.last_ns < 0:
                rows = np.flatnonzero(past & (batch.instrument == instrument))
                keep[rows] = False
                known.begin([(at_ns, texts[row]) for at_ns, row in
                             zip(batch.timestamp[rows].tolist(), rows.tolist(), strict=True)])

    def _of(self, instrument: int) -> _Known:
        known = self._known.get(instrument)
        if known is None:
            (name,) = self._catalogue.names([instrument])
            known = self._known[instrument] = _Known(self._recovered.get(name, (-1, -1))[1])
        return known

    def _gaps(self, batch: TradeBatch, past: NDArray[np.bool_]) -> list[Gap]:
        """Return a gap for each symbol whose history does not reach back to the last trade seen."""
        gaps = []
        for instrument in np.unique(batch.instrument[past]).tolist():
            oldest_ns = int(batch.timestamp[past & (batch.instrument == instrument)].min())
            last_ns = self._of(instrument).last_ns
            if 0 <= last_ns < oldest_ns:
                exchange, market_type, symbol = self._catalogue.names([instrument])[0]
                gaps.append(Gap(exchange=exchange, market_type=market_type, symbol=symbol, from_ns=last_ns,
                                to_ns=oldest_ns, first_id=None, last_id=None,
                                reason="the history sent on subscribing does not reach back to the last trade seen"))
        return gaps
