"""Telling trades apart where a venue sends no ids.

Such a venue's parser gives a text that is equal for equal trades (side, price, quantity). Equal trades at the same
nanosecond are legitimate, so the nth of them gets the suffix `#n`. Rows sent as history on subscribing repeat what was seen
live: the nth of equal rows there is new only when fewer than n were seen. History of a symbol never seen before is
left out, and counted: recording starts where that history ends, and what is older is never taken up later.

While a connection is renewed two of them bring the same trades. Then the equal ones are counted for each connection: the nth
is new only when no connection has brought n of them so far.

A venue may send a live frame again, as it may any message. Where it numbers its frames (`sequence_number`), the same number with
the same rows is the same frame, and is dropped; without a number, or under another one, equal rows are trades that are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, repeat

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import NO_SEQUENCE, Gap, TradeBatch
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.pipeline.recent_ids import UnorderedIds

AHEAD_KEPT = 100  # distinct trades with impossible times remembered of an instrument
KEPT = 2000  # distinct trades remembered of an instrument: twice what a venue sends as history
CUT_AFTER = 100_000  # trades numbered, after which every instrument's memory is cut back to that
BESIDE_KEPT = 20_000  # while two connections bring it, of which one may be seconds behind
BESIDE_NS = 60 * NS_PER_S  # after which a connection that brought nothing of an instrument is taken for gone

Key = tuple[int, bytes]


class _Known:
    """What was seen of one instrument: how often each trade, from `floor` on, and the time of the last one.

    Most trades are later than all before them, so that none of those equals them: they are only put into a list (`later`),
    at a third of the cost, until the number of some trade is asked for.
    """

    __slots__ = ("_counts", "_turned_ns", "ahead", "beside", "floor", "last_ns", "later", "source")

    def __init__(self, last_ns: int) -> None:
        self.source = 0  # the connection that brought the last row; 0: none yet
        self.beside: dict[int, dict[Key, int]] = {}  # what each brought, while there are several
        self._turned_ns = 0  # when a row last came on another connection than the one before it
        self._counts: dict[Key, int] = {}
        self.ahead: dict[Key, int] = {}  # the same of trades stamped hours ahead, which say nothing about the others
        self.later: list[Key] = []  # each later than the one before it and than all that is counted
        self.last_ns = last_ns
        self.floor = last_ns + 1  # history before this was seen, or cannot be told from what was, or is older than recording

    def begin(self, rows: Sequence[Key]) -> None:
        """Start recording behind this history: whatever comes now is new, save what is its newest moment again."""
        newest_ns = max((at_ns for at_ns, _ in rows), default=-1)
        for key in rows:
            if key[0] == newest_ns:
                self.add(key)

    def hear(self, source: int, received_ns: int) -> None:
        """Take down that the next row comes on another connection than the last one."""
        if self.source:
            if not self.beside or received_ns - self._turned_ns > BESIDE_NS:
                self.count((0, b""))  # so that all is counted
                self.beside = {self.source: self._counts.copy()}
            self.beside.setdefault(source, {})
            self._turned_ns = received_ns
        self.source = source

    def brought(self, received_ns: int) -> dict[Key, int] | None:
        """Return what the last row's connection has brought so far; None once no other one brings anything."""
        if received_ns - self._turned_ns > BESIDE_NS:
            self.beside = {}
            return None
        mine = self.beside[self.source]
        if len(mine) > 2 * BESIDE_KEPT:
            for oldest in list(islice(mine, BESIDE_KEPT)):
                del mine[oldest]
        return mine

    def add(self, key: Key) -> int:
        """Count one more of these trades, whatever its time; return how many there were before."""
        if key[0] > self.last_ns:
            self.floor = self.floor if self.last_ns >= 0 else key[0]
            self.last_ns = key[0]
        if self.later:
            self._count_later()
        before = self._counts.pop(key, 0)
        self._counts[key] = before + 1
        if len(self._counts) > self._kept:
            self._shorten()
        return before

    def add_ahead(self, key: Key) -> int:
        """Count one more of these trades, whose time is hours ahead; return how many there were before."""
        before = self.ahead.pop(key, 0)
        self.ahead[key] = before + 1
        if len(self.ahead) > AHEAD_KEPT:
            del self.ahead[next(iter(self.ahead))]
        return before

    def count(self, key: Key) -> int:
        """Return how many of these trades were seen."""
        if self.later:
            self._count_later()
        return self._counts.get(key, 0)

    def _count_later(self) -> None:
        self.cut()
        self._counts.update(dict.fromkeys(self.later, 1))
        self.later.clear()
        self._shorten()

    def _shorten(self) -> None:
        for oldest in list(islice(self._counts, max(0, len(self._counts) - self._kept))):
            del self._counts[oldest]
            self.floor = max(self.floor, oldest[0] + 1)

    @property
    def _kept(self) -> int:
        return BESIDE_KEPT if self.beside else KEPT

    def cut(self) -> None:
        """Forget what is too much of `later`, and all that came before."""
        over = len(self.later) - KEPT
        if over > 0:
            self.floor = self.later[over - 1][0] + 1
            self._counts.clear()
            del self.later[:over]


class SyntheticIds:
    """Numbers equal trades of the venues without ids. `recovered` gives the time of each symbol's last stored trade."""

    def __init__(self, catalogue: Catalogue, recovered: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        self._catalogue, self._recovered = catalogue, recovered
        self._known: dict[int, _Known] = {}
        self._until_cut = CUT_AFTER
        self._frames = UnorderedIds()
        self.left_out = 0  # rows of history that were known, or out of reach
        self.repeated = 0  # rows of live frames that came before, on the same connection or on another

    def number(self, parsed: Parsed) -> tuple[Parsed, list[Gap]]:
        """Return the trades that are new, with ids that tell them apart, and the gaps that history did not close."""
        parsed = self._without_repeats(parsed)
        batch, past = parsed.batch, parsed.past
        assert batch.text_id is not None
        self._cut(len(batch))
        keys: list[Key] = list(zip(batch.timestamp.tolist(), batch.text_id.tolist(), strict=True))
        gaps: list[Gap] = []
        ahead = set[int]() if parsed.settled is None else set(np.flatnonzero(parsed.settled != batch.timestamp).tolist())
        history, left_out = [False] * len(batch), set[int]()
        if past is not None and past.any():
            gaps, history = self._gaps(batch, past), past.tolist()
            left_out = self._begin(batch, past, keys, ahead)
        moments: dict[int, tuple[int, dict[Key, int]]] = {}  # of each instrument, the equal rows of one ns of history
        numbered: dict[int, bytes] = {}
        doubled: set[int] = set()
        rows = zip(batch.instrument.tolist(), keys, _sources(parsed), strict=False)
        for row, (instrument, key, source) in enumerate(rows):
            known = self._known.get(instrument) or self._of(instrument)
            if source != known.source:
                known.hear(source, int(batch.received_at[row]))
            mine = known.brought(int(batch.received_at[row])) if known.beside else None
            if row in ahead:
                if row in left_out or ((history[row] or mine is not None) and key in known.ahead):
                    left_out.add(row)
                elif before := known.add_ahead(key):
                    numbered[row] = key[1] + b"#%d" % before
                continue
            if history[row]:
                if row in left_out or not _is_new(known, instrument, key, moments, mine):
                    left_out.add(row)
                    continue
            elif mine is not None:
                mine[key] = nth = mine.get(key, 0) + 1
                if nth <= known.count(key):
                    doubled.add(row)
                    continue
            elif key[0] > known.last_ns >= 0:
                known.last_ns = key[0]
                known.later.append(key)
                continue
            before = known.add(key)
            if before:
                numbered[row] = key[1] + b"#%d" % before
        self.left_out += len(left_out)
        self.repeated += len(doubled)
        left_out |= doubled
        if numbered:
            parsed = replace(parsed, batch=replace(batch, text_id=_with(batch.text_id, numbered)))
        return (parsed.take(np.delete(np.arange(len(batch)), list(left_out))) if left_out else parsed), gaps

    def _without_repeats(self, parsed: Parsed) -> Parsed:
        """Leave out the rows of live frames that came before."""
        batch, frame = parsed.batch, parsed.frame
        if frame is None or not len(batch) or int(batch.sequence_number[0]) == NO_SEQUENCE:
            return parsed
        assert batch.text_id is not None
        heads = np.flatnonzero(np.diff(frame, prepend=-1))
        live = heads if parsed.past is None else heads[~parsed.past[heads]]
        rows = list(zip(batch.timestamp.tolist(), batch.text_id.tolist(), strict=True))
        source = repeat(0) if parsed.source is None else parsed.source[live].tolist()
        names = zip(batch.instrument[live].tolist(), batch.sequence_number[live].tolist(), source, strict=False)
        if len(heads) == len(rows):
            contents: Sequence[object] = rows if len(live) == len(rows) else [rows[row] for row in live.tolist()]
        else:
            ends = np.append(heads[1:], len(rows))[np.isin(heads, live)]
            contents = [rows[first] if last - first == 1 else tuple(rows[first:last])
                        for first, last in zip(live.tolist(), ends.tolist(), strict=True)]
        fresh = self._frames.fresh(list(zip(names, contents, strict=True)))
        if fresh is None:
            return parsed
        again = np.zeros(len(heads), np.bool_)
        again[np.searchsorted(heads, live)] = ~np.array(fresh)
        keep = ~np.repeat(again, np.diff(heads, append=len(rows)))
        self.repeated += len(rows) - int(keep.sum())
        return parsed.take(keep)

    def _cut(self, trades: int) -> None:
        """Keep the memory of all instruments bounded, now and then."""
        self._until_cut -= trades
        if self._until_cut < 0:
            self._until_cut = CUT_AFTER
            for known in self._known.values():
                known.cut()

    def _begin(self, batch: TradeBatch, past: NDArray[np.bool_], keys: Sequence[Key], ahead: set[int]) -> set[int]:
        """Start behind the history of the symbols that were never seen before; return its rows, which are left out."""
        left_out: set[int] = set()
        for instrument in np.unique(batch.instrument[past]).tolist():
            known = self._of(instrument)
            if known.last_ns < 0:
                rows = np.flatnonzero(past & (batch.instrument == instrument)).tolist()
                known.begin([keys[row] for row in rows if row not in ahead])
                for row in ahead.intersection(rows):
                    known.add_ahead(keys[row])
                left_out.update(rows)
        return left_out

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


def _sources(parsed: Parsed) -> Iterable[int]:
    return repeat(0) if parsed.source is None else parsed.source.tolist()


def _is_new(known: _Known, instrument: int, key: Key, moments: dict[int, tuple[int, dict[Key, int]]],
            mine: dict[Key, int] | None) -> bool:
    """Return whether a row of history is the nth of its equals where fewer than n were seen; its connection has brought n."""
    seen = known.count(key)
    moment, equal = moments.get(instrument, (-1, {}))
    if moment != key[0]:  # a second history in one batch goes back in time, and is counted anew
        moments[instrument] = key[0], (equal := {})
    nth = equal[key] = equal.get(key, 0) + 1
    if mine is not None:
        mine[key] = max(nth, mine.get(key, 0))
    return key[0] >= known.floor and nth > seen


def _with(texts: NDArray[np.bytes_], other: Mapping[int, bytes]) -> NDArray[np.bytes_]:
    """Return texts with other ones in some rows, and as wide as those need."""
    changed = texts.astype(f"S{max(texts.itemsize, *map(len, other.values()))}")
    changed[list(other)] = list(other.values())
    return changed
