"""Give ids to the trades of a venue without ids, so that each trade is stored once.

The parser of such a venue gives each trade a text that is equal for equal trades (side, price, quantity). Equal trades may share
a timestamp, so later ones get the suffixes `#1`, `#2` and so on. Rows sent as history on subscribing repeat trades that were
seen live: the nth of equal rows is new only if fewer than n were seen. The history of a symbol never seen before is dropped and
counted: recording starts where it ends, and older trades are never added later.

While a connection is renewed, or a symbol is read on two connections, both bring the same trades. Then equal trades are counted
for each connection: the nth is new only if no connection has brought n of them so far.

Trades that were fetched from the history may still arrive on a connection. If they do, they count as seen.

A venue may repeat a live frame. If it numbers its frames (`sequence_number`), an equal number with equal rows is the same frame
and is dropped. Without a number, or under another number, equal rows are different trades.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, repeat, takewhile

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import NO_SEQUENCE, Gap, TradeBatch
from pumpwatch.pipeline.certain_repeats import SAMPLES, Race
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.pipeline.recent_ids import UnorderedIds

AHEAD_KEPT = 100  # distinct trades with impossible times that are remembered per instrument
KEPT = 2000  # distinct trades that are remembered per instrument: twice as many as a venue sends as history
CUT_AFTER = 100_000  # trades after which every instrument's memory is cut back to KEPT
FETCHED_KEPT = 500  # distinct trades per instrument that were fetched from the history and a connection may still bring
BESIDE_KEPT = 20_000  # as KEPT, while two connections read the instrument, one of which may be seconds behind
BEHIND_NS = 300 * NS_PER_S  # counts beyond KEPT are forgotten after this time, because no connection is so far behind
BESIDE_NS = 60 * NS_PER_S  # a connection without a trade of an instrument for this long counts as gone

Key = tuple[int, bytes]


class _Known:
    """The seen trades of one instrument: the count of each one since `floor`, and the time of the last.

    Most trades are later than all earlier ones, and so cannot equal them. They only go into a list (`later`), at a third of the
    cost, until a count is needed.
    """

    __slots__ = ("_begun", "_counts", "_heard_ns", "_turned_ns", "ahead", "beside", "fetched", "floor", "last_ns", "later",
                 "newest", "source")

    def __init__(self, last_ns: int) -> None:
        self.source = 0  # the connection that brought the last row; 0: none yet
        self.beside: dict[int, dict[Key, int]] = {}  # connection -> counts of its trades; empty with one connection
        self._heard_ns: dict[int, int] = {}  # connection -> when it last brought a row before another connection did
        self.newest: tuple[Key, int, int] | None = None  # the last new trade, its time of arrival and its connection
        self._turned_ns = 0  # when a row last came on another connection than its predecessor
        self._counts: dict[Key, int] = {}
        self._begun: dict[Key, int] = {}  # counted but not recorded: the newest trades of the first history
        self.ahead: dict[Key, int] = {}  # counts of trades dated hours ahead, which must not affect the others
        self.fetched: dict[Key, int] = {}  # counts of trades fetched from the history that no connection has brought
        self.later: list[Key] = []  # trades, each later than its predecessor and than all counted trades
        self.last_ns = last_ns
        self.floor = last_ns + 1  # earlier history was seen, may have been seen, or is older than the recording

    def begin(self, rows: Sequence[Key]) -> None:
        """Start recording after this history: every later row is new, except repetitions of its newest trades."""
        newest_ns = max((at_ns for at_ns, _ in rows), default=-1)
        for key in rows:
            if key[0] == newest_ns:
                self.add(key)
                self._begun[key] = self._begun.get(key, 0) + 1

    def was_begun(self, key: Key) -> bool:
        """Return whether a trade was only counted by `begin`, so that it is not recorded; each count is used once."""
        left = self._begun.pop(key, 0)
        if left > 1:
            self._begun[key] = left - 1
        return left > 0

    def switch_source(self, source: int, received_ns: int) -> None:
        """Record that the next row comes from another connection than the last row."""
        if self.source:
            if not self.beside or received_ns - self._turned_ns > BESIDE_NS:
                self.count((0, b""))  # counts all of `later`
                self.beside = {self.source: self._counts | {key: self._counts.get(key, 0) - count
                                                            for key, count in self.fetched.items()}}
            if source not in self.beside:
                self._forget_gone(received_ns)
                self.beside[source] = {}
            self._turned_ns = self._heard_ns[self.source] = received_ns
        self.source = source

    def _forget_gone(self, now_ns: int) -> None:
        """Forget the trades of connections that have brought no trade for BESIDE_NS, because they were replaced."""
        gone = [source for source in self.beside if source != self.source
                and now_ns - self._heard_ns.get(source, 0) > BESIDE_NS]
        for source in gone:
            del self.beside[source]
        self._heard_ns = {source: heard_ns for source, heard_ns in self._heard_ns.items() if source in self.beside}

    def brought(self, received_ns: int) -> dict[Key, int] | None:
        """Return the counts of the last row's connection; None once only one connection is left."""
        if received_ns - self._turned_ns > BESIDE_NS:
            self.beside = {}
            return None
        mine = self.beside[self.source]
        if len(mine) > 2 * BESIDE_KEPT:
            for oldest in list(islice(mine, BESIDE_KEPT)):
                del mine[oldest]
        return mine

    def add(self, key: Key) -> int:
        """Count one more trade like this, whatever its time; return the previous count."""
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

    def fetch(self, key: Key) -> None:
        """Count one more trade like this as fetched from the history: a connection may still bring it."""
        self.add(key)
        self.fetched[key] = self.fetched.pop(key, 0) + 1
        if len(self.fetched) > FETCHED_KEPT:
            del self.fetched[next(iter(self.fetched))]

    def was_fetched(self, key: Key) -> bool:
        """Return whether a connection's trade was fetched before; each count is used once."""
        left = self.fetched.pop(key, 0)
        if left > 1:
            self.fetched[key] = left - 1
        return left > 0

    def add_ahead(self, key: Key) -> int:
        """Count one more trade like this that is dated hours ahead; return the previous count."""
        before = self.ahead.pop(key, 0)
        self.ahead[key] = before + 1
        if len(self.ahead) > AHEAD_KEPT:
            del self.ahead[next(iter(self.ahead))]
        return before

    def count(self, key: Key) -> int:
        """Return the number of seen trades like this."""
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
        """Forget the oldest of `later` beyond KEPT with all earlier trades, and counts that two connections no longer need."""
        old = self.last_ns - BEHIND_NS
        for counts in (self._counts, *self.beside.values()):
            for key in list(takewhile(lambda key: key[0] < old, islice(counts, max(0, len(counts) - KEPT)))):
                del counts[key]
                if counts is self._counts:
                    self.floor = max(self.floor, key[0] + 1)
        over = len(self.later) - KEPT
        if over > 0:
            self.floor = self.later[over - 1][0] + 1
            self._counts.clear()
            del self.later[:over]


class SyntheticIds:
    """Gives ids to the trades of venues without ids. recovered: symbol -> (-1, time in ns) of its last stored trade."""

    def __init__(self, catalogue: Catalogue, recovered: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        self._catalogue, self._recovered = catalogue, recovered
        self._known: dict[int, _Known] = {}
        self._resumed: set[int] = set()  # another collector may have read the trades before their next history
        self._until_cut = CUT_AFTER
        self._frames = UnorderedIds()
        self.left_out = 0  # rows of history that were seen before or are older than the recording
        self.races: list[Race] = []  # of some trades that came twice; the caller empties the list
        self.repeated = 0  # rows of live frames that were seen before, on any connection

    def follow(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Continue after another process, for symbols without a trade so far. last: like `recovered`."""
        self._recovered = {**self._recovered, **last}

    def resume(self, numbers: Iterable[int]) -> None:
        """Expect a hole before the next history of these instruments, because another collector has read them meanwhile."""
        self._resumed.update(numbers)

    def number(self, parsed: Parsed) -> tuple[Parsed, list[Gap]]:
        """Return the new trades with their ids, and the gaps that the history does not close."""
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
        moments: dict[int, tuple[int, dict[Key, int]]] = {}  # by instrument: one ns of history and its rows, counted
        numbered: dict[int, bytes] = {}
        doubled: set[int] = set()
        rows = zip(batch.instrument.tolist(), keys, _sources(parsed), strict=False)
        for row, (instrument, key, source) in enumerate(rows):
            known = self._known.get(instrument) or self._known_of(instrument)
            if source != known.source:
                known.switch_source(source, int(batch.received_at[row]))
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
                    if known.was_begun(key):  # the history of the other connection had it, and began the recording
                        continue
                    doubled.add(row)
                    if known.newest is not None and known.newest[0] == key and len(self.races) < SAMPLES:
                        _, first_ns, first = known.newest
                        self.races.append((instrument, first, source, int(batch.received_at[row]) - first_ns))
                    continue
                known.newest = key, int(batch.received_at[row]), source
            elif key[0] > known.last_ns >= 0:
                known.last_ns = key[0]
                known.later.append(key)
                continue
            elif known.fetched and known.was_fetched(key):
                doubled.add(row)
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

    def counts(self, number: int, keys: Sequence[Key]) -> list[int]:
        """Return the numbers of an instrument's trades like these that were seen in this run."""
        known = self._known.get(number)
        return [0 if known is None else known.count(key) for key in keys]

    def add_history(self, number: int, keys: Sequence[Key]) -> None:
        """Count trades that were fetched from the history, so that neither a connection nor its history repeats them."""
        known = self._known_of(number)
        for key in keys:
            known.fetch(key)

    def _without_repeats(self, parsed: Parsed) -> Parsed:
        """Leave out the rows of repeated live frames."""
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
        """Bound the memory of all instruments after every CUT_AFTER trades."""
        self._until_cut -= trades
        if self._until_cut < 0:
            self._until_cut = CUT_AFTER
            for known in self._known.values():
                known.cut()

    def _begin(self, batch: TradeBatch, past: NDArray[np.bool_], keys: Sequence[Key], ahead: set[int]) -> set[int]:
        """Start recording symbols never seen before after their history; return the rows of that history, which are dropped."""
        left_out: set[int] = set()
        for instrument in np.unique(batch.instrument[past]).tolist():
            known = self._known_of(instrument)
            if known.last_ns < 0:
                rows = np.flatnonzero(past & (batch.instrument == instrument)).tolist()
                known.begin([keys[row] for row in rows if row not in ahead])
                for row in ahead.intersection(rows):
                    known.add_ahead(keys[row])
                left_out.update(rows)
        return left_out

    def _known_of(self, instrument: int) -> _Known:
        known = self._known.get(instrument)
        if known is None:
            (name,) = self._catalogue.names([instrument])
            known = self._known[instrument] = _Known(self._recovered.get(name, (-1, -1))[1])
        return known

    def _gaps(self, batch: TradeBatch, past: NDArray[np.bool_]) -> list[Gap]:
        """Return a gap for each symbol whose history does not reach back to its last trade."""
        gaps = []
        for instrument in np.unique(batch.instrument[past]).tolist():
            oldest_ns = int(batch.timestamp[past & (batch.instrument == instrument)].min())
            last_ns = self._known_of(instrument).last_ns
            if instrument in self._resumed:
                self._resumed.discard(instrument)
            elif 0 <= last_ns < oldest_ns:
                exchange, market_type, symbol = self._catalogue.names([instrument])[0]
                gaps.append(Gap(exchange=exchange, market_type=market_type, symbol=symbol, from_ns=last_ns, to_ns=oldest_ns,
                                reason="the history sent on subscribing does not reach back to the last trade seen"))
        return gaps


def _sources(parsed: Parsed) -> Iterable[int]:
    return repeat(0) if parsed.source is None else parsed.source.tolist()


def _is_new(known: _Known, instrument: int, key: Key, moments: dict[int, tuple[int, dict[Key, int]]],
            mine: dict[Key, int] | None) -> bool:
    """Return whether the nth of equal rows of history is new, because fewer than n were seen; count it for its connection."""
    seen = known.count(key)
    moment, equal = moments.get(instrument, (-1, {}))
    if moment != key[0]:  # a second history in one batch goes back in time, so its count starts again
        moments[instrument] = key[0], (equal := {})
    nth = equal[key] = equal.get(key, 0) + 1
    if mine is not None:
        mine[key] = max(nth, mine.get(key, 0))
    return key[0] >= known.floor and nth > seen


def _with(texts: NDArray[np.bytes_], other: Mapping[int, bytes]) -> NDArray[np.bytes_]:
    """Return texts with some rows replaced; the array is widened for the new texts."""
    changed = texts.astype(f"S{max(texts.itemsize, *map(len, other.values()))}")
    changed[list(other)] = list(other.values())
    return changed
