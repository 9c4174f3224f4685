"""Dropping what was seen before, and noticing what was not seen at all.

Where ids ascend, one last id an instrument decides by column: the whole batch is checked in a few numpy calls, and only
instruments in which something did not simply advance are looked at trade by trade. Where ids have no order, a trade can
only come twice while its source may be doubled (after a reconnect, or with two connections on one feed): for that time a
bounded window of known ids is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap, GapState, IdKind, Int64, TradeBatch
from pumpwatch.pipeline.ascending import AscendingIds
from pumpwatch.pipeline.continuity import RANGES_KEPT, MissingIds

UNSEEN = -1
WINDOW_IDS = 20_000  # ids kept of one instrument while its source may be doubled

CODES = {IdKind.CONTIGUOUS: 2, IdKind.MONOTONIC: 1, IdKind.UNIQUE: 0, IdKind.NONE: 0}
CONTIGUOUS, MONOTONIC, UNORDERED = 2, 1, 0


@dataclass(slots=True)
class Seen:
    """What `observe` found: rows to keep (None: all), doubles by instrument, gaps opened or filled."""

    keep: NDArray[np.bool_] | None = None
    doubled: dict[int, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)


class Dedupe:
    """Remembers the last id of every instrument. `id_kind_of(exchange, market_type)` says what its ids promise."""

    def __init__(self, catalogue: Catalogue, id_kind_of: Callable[[str, str], IdKind]) -> None:
        self._catalogue, self._id_kind_of = catalogue, id_kind_of
        self._recovered: Mapping[tuple[str, str, str], tuple[int, int]] = {}
        self._last_id: Int64 = np.empty(0, np.int64)
        self._last_ns: Int64 = np.empty(0, np.int64)
        self._first_id: Int64 = np.empty(0, np.int64)
        self._kind: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._missing: dict[int, MissingIds] = {}
        self._open_gaps: dict[int, list[Gap]] = {}
        self._windows: dict[int, dict[int | bytes, None]] = {}
        self._ascending = AscendingIds()

    def _grow(self) -> None:
        known, count = len(self._last_id), len(self._catalogue)
        if known == count:
            return
        kinds = [CODES[self._id_kind_of(*venue)] for venue in self._catalogue.venues[known:]]
        self._last_id = np.concatenate([self._last_id, np.full(count - known, UNSEEN)])
        self._first_id = np.concatenate([self._first_id, np.full(count - known, UNSEEN)])
        self._last_ns = np.concatenate([self._last_ns, np.zeros(count - known, np.int64)])
        self._kind = np.concatenate([self._kind, np.array(kinds, np.uint8)])
        for number, name in enumerate(self._catalogue.names(range(known, count)), known):
            last_id, last_ns = self._recovered.get(name, (UNSEEN, 0))
            if last_id > UNSEEN:
                self._last_id[number], self._last_ns[number], self._first_id[number] = last_id, last_ns, 0
        self._ascending.grow(self._last_id[known:])

    def last_ids(self, instruments: NDArray[np.int32]) -> Int64:
        """Return the last id seen of each of these, UNSEEN where there was none."""
        self._grow()
        return self._last_id[instruments]

    def take_up(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Go on where an earlier run ended: (exchange, market_type, symbol) -> (last id, its time in ns).

        Everything up to that id counts as seen. Call it before the first batch.
        """
        self._recovered = last
        self._last_id, self._last_ns, self._first_id = (np.empty(0, np.int64) for _ in range(3))
        self._kind = np.empty(0, np.uint8)
        self._ascending = AscendingIds()

    def expect_doubles(self, instruments: Iterable[int], known: TradeBatch) -> None:
        """From now on these may come twice; `known` holds their recent trades."""
        self._grow()
        rows: dict[int, list[int | bytes]] = {}
        keys = _keys(known)
        for number, key in zip(known.instrument.tolist(), keys, strict=True):
            rows.setdefault(number, []).append(key)
        for number in instruments:
            if self._kind[number] != CONTIGUOUS:
                self._windows.setdefault(number, {}).update(dict.fromkeys(rows.get(number, [])))

    def forget_doubles(self, instruments: Iterable[int]) -> None:
        """The sources of these are single again."""
        for number in instruments:
            self._windows.pop(number, None)

    def observe(self, batch: TradeBatch) -> Seen:
        """Look at a batch in order of arrival, remember its ids, and say what to drop."""
        self._grow()
        seen = Seen()
        if not len(batch):
            return seen
        order = np.argsort(batch.instrument, kind="stable")
        instrument, ids = batch.instrument[order], batch.trade_id[order]
        heads = np.empty(len(order), np.bool_)
        heads[0] = True
        np.not_equal(instrument[1:], instrument[:-1], out=heads[1:])
        starts = np.flatnonzero(heads)
        who = instrument[starts]
        before = self._last_id[who]
        previous = np.empty_like(ids)
        previous[1:] = ids[:-1]
        previous[starts] = before
        step = ids - previous
        step[starts[before == UNSEEN]] = 1
        ends = np.append(starts[1:], len(order))
        last = ends - 1
        if not self._windows and (step == 1).all():  # nothing but the next id, everywhere: what mostly happens
            self._first_id[who[before == UNSEEN]] = ids[starts[before == UNSEEN]]
            self._last_id[who], self._last_ns[who] = ids[last], batch.timestamp[order[last]]
            self._remember(batch)
            return seen
        kind = self._kind[who]
        special = np.logical_or.reduceat(step != 1, starts) & (kind != UNORDERED)
        if special.any():
            special &= (kind == CONTIGUOUS) | np.logical_or.reduceat(step < 1, starts)
        if self._windows:
            special |= np.isin(who, list(self._windows))
        if special.any():
            self._one_by_one(batch, order, who[special], starts[special], ends[special], seen)
        plain = ~special
        unseen = plain & (before == UNSEEN)
        self._first_id[who[unseen]] = ids[starts[unseen]]
        self._last_id[who[plain]] = ids[last[plain]]
        self._last_ns[who[plain]] = batch.timestamp[order[last[plain]]]
        self._remember(batch)
        return seen

    def _remember(self, batch: TradeBatch) -> None:
        ascend = self._kind[batch.instrument] == MONOTONIC
        if ascend.any():
            self._ascending.remember(batch.instrument[ascend], batch.trade_id[ascend])

    def _one_by_one(self, batch: TradeBatch, order: NDArray[np.intp], who: NDArray[np.int32],
                    starts: NDArray[np.intp], ends: NDArray[np.intp], seen: Seen) -> None:
        keep = np.ones(len(batch), np.bool_)
        keys = _keys(batch) if self._windows else []
        for number, start, end in zip(who.tolist(), starts.tolist(), ends.tolist(), strict=True):
            rows = order[start:end]
            if self._kind[number] == CONTIGUOUS:
                fresh = self._contiguous(number, batch, rows, seen)
            else:
                fresh = self._windowed(number, batch, rows, keys)
            if not all(fresh):
                keep[rows] = fresh
                seen.doubled[number] = fresh.count(False)
        if not keep.all():
            seen.keep = keep

    def _contiguous(self, number: int, batch: TradeBatch, rows: NDArray[np.intp], seen: Seen) -> list[bool]:
        """Walk the ids of one instrument; open and fill gaps on the way."""
        last, last_ns = int(self._last_id[number]), int(self._last_ns[number])
        first = int(self._first_id[number])
        missing = self._missing.setdefault(number, MissingIds())
        opened: list[tuple[int, int, int, int]] = []
        late = False
        fresh: list[bool] = []
        for trade_id, at_ns in zip(batch.trade_id[rows].tolist(), batch.timestamp[rows].tolist(), strict=True):
            if last == UNSEEN:
                first, last, last_ns = trade_id, trade_id, at_ns
                fresh.append(True)
            elif trade_id > last:
                if trade_id > last + 1:
                    missing.open(last + 1, trade_id - 1)
                    opened.append((last + 1, trade_id - 1, last_ns, at_ns))
                last, last_ns = trade_id, at_ns
                fresh.append(True)
            elif trade_id < first:  # older than the first one seen: arrived out of order at the start
                if first > trade_id + 1:
                    missing.open_before(trade_id + 1, first - 1)
                first = trade_id
                fresh.append(True)
            else:
                found = missing.find(trade_id)
                late |= found
                fresh.append(found)
        self._last_id[number], self._last_ns[number], self._first_id[number] = last, last_ns, first
        if late:
            seen.gaps += self._filled(number, missing)
        new = [self._gap(number, one) for one in opened if missing.holds_any(one[0], one[1])]
        seen.gaps += new
        if missing:
            self._open_gaps[number] = (self._open_gaps.get(number, []) + new)[-RANGES_KEPT:]
        else:
            del self._missing[number]
            self._open_gaps.pop(number, None)
        return fresh

    def _filled(self, number: int, missing: MissingIds) -> list[Gap]:
        """Return the recorded gaps of an instrument whose every id has arrived after all, as filled."""
        done: list[Gap] = []
        still: list[Gap] = []
        for gap in self._open_gaps.get(number, []):
            assert gap.first_id is not None and gap.last_id is not None
            (still if missing.holds_any(gap.first_id, gap.last_id) else done).append(gap)
        self._open_gaps[number] = still
        return [replace(gap, state=GapState.FILLED) for gap in done]

    def _gap(self, number: int, opened: tuple[int, int, int, int]) -> Gap:
        first, last, from_ns, to_ns = opened
        exchange, market_type = self._catalogue.venues[number]
        return Gap(exchange=exchange, market_type=market_type, symbol=self._catalogue.instruments[number].symbol,
                   from_ns=min(from_ns, to_ns) or to_ns, to_ns=max(from_ns, to_ns) + 1, first_id=first, last_id=last,
                   reason=f"ids jump from {first - 1} to {last + 1}", state=GapState.OPEN)

    def _windowed(self, number: int, batch: TradeBatch, rows: NDArray[np.intp], keys: list[int | bytes]) -> list[bool]:
        """Drop what the window of this instrument knows; without a window nothing can have come twice."""
        ids, last = batch.trade_id[rows], int(self._last_id[number])
        self._last_id[number] = max(int(self._last_id[number]), int(ids.max()))
        self._last_ns[number] = max(int(self._last_ns[number]), int(batch.timestamp[rows].max()))
        window = self._windows.get(number)
        if window is None:
            return self._ascending.fresh(number, last, ids.tolist()) if self._kind[number] == MONOTONIC else [True] * len(rows)
        fresh = []
        for row in rows.tolist():
            key = keys[row]
            fresh.append(key not in window)
            window[key] = None
        while len(window) > WINDOW_IDS:
            del window[next(iter(window))]
        return fresh


def _keys(batch: TradeBatch) -> list[int | bytes]:
    """Return what identifies each trade within its instrument."""
    numbers: list[int | bytes] = batch.trade_id.tolist()
    if batch.text_id is None:
        return numbers
    return [text or number for text, number in zip(batch.text_id.tolist(), numbers, strict=True)]
