"""Drop trades that were seen before, and record a gap for ids that were skipped.

Where ids ascend, the last id of each instrument decides, by column: a few numpy calls check the whole batch, and only
instruments whose ids did not simply advance are checked trade by trade. Where ids have no order, recent ids are remembered.

An id below the last one, on a trade some seconds younger than all before it, is not a repetition: a repetition would have its
old time. The venue has restarted its ids (a symbol listed again, another channel with its own ids). The trade is kept, the
ids before it are forgotten, and the time between is a gap. Trades that come sooner after a restart look like repetitions, are
dropped, and lie in that gap. They are not held back until the case is clear: a trade held back is not durable, and on a slow
symbol that could take an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState, IdKind, Int64, TradeBatch
from pumpwatch.pipeline.missing_ids import RANGES_KEPT, MissingIds
from pumpwatch.pipeline.recent_ids import AscendingIds, UnorderedIds

UNSEEN = -1
RESTART_NS = 5 * NS_PER_S  # far more than the times of neighbouring ids are out of order: none of 47,000 recorded ones was

CONTIGUOUS, MONOTONIC, UNIQUE, NUMBERED = 3, 2, 1, 0
CODES = {IdKind.CONTIGUOUS: CONTIGUOUS, IdKind.MONOTONIC: MONOTONIC, IdKind.UNIQUE: UNIQUE, IdKind.NONE: NUMBERED}


@dataclass(slots=True)
class Seen:
    """The result of `observe`: rows to keep (None: all), repeated trades by instrument, gaps opened or filled."""

    keep: NDArray[np.bool_] | None = None
    doubled: dict[int, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)

    def drop(self, rows: NDArray[np.intp], number: int, fresh: list[bool], count: int) -> None:
        """Mark these rows of an instrument, in a batch of `count` rows, as kept or dropped."""
        if self.keep is None:
            self.keep = np.ones(count, np.bool_)
        self.keep[rows] = fresh
        self.doubled[number] = self.doubled.get(number, 0) + fresh.count(False)


class Dedupe:
    """Remembers the last id of every instrument. `id_kind_of(exchange, market_type)` gives the kind of its ids."""

    def __init__(self, catalogue: Catalogue, id_kind_of: Callable[[str, str], IdKind], ranges_kept: int = RANGES_KEPT) -> None:
        self._catalogue, self._id_kind_of, self._ranges_kept = catalogue, id_kind_of, ranges_kept
        self._missing: dict[int, MissingIds] = {}
        self._open_gaps: dict[int, list[Gap]] = {}
        self._unordered = UnorderedIds()
        self._recovered: Mapping[tuple[str, str, str], tuple[int, int]] = {}
        self._last_id: Int64 = np.empty(0, np.int64)
        self._last_ns: Int64 = np.empty(0, np.int64)  # the time of the last id
        self._newest_ns: Int64 = np.empty(0, np.int64)  # of all trades: the last id may be of a trade that was reported late
        self._first_id: Int64 = np.empty(0, np.int64)
        self._begin_ns: Int64 = np.empty(0, np.int64)  # the time of a trade from which on every skipped id is known; 0: none
        self._kind: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._has: set[int] = set()  # the kinds of all known instruments
        self._ascending = AscendingIds()

    def _grow(self) -> None:
        known, count = len(self._last_id), len(self._catalogue)
        if known == count:
            return
        kinds = [CODES[self._id_kind_of(*venue)] for venue in self._catalogue.venues[known:count]]
        self._has |= set(kinds)
        self._kind = np.concatenate([self._kind, np.array(kinds, np.uint8)])
        self._last_id = np.concatenate([self._last_id, np.full(count - known, UNSEEN)])
        self._first_id = np.concatenate([self._first_id, np.full(count - known, UNSEEN)])
        self._last_ns = np.concatenate([self._last_ns, np.zeros(count - known, np.int64)])
        self._newest_ns = np.concatenate([self._newest_ns, np.zeros(count - known, np.int64)])
        self._begin_ns = np.concatenate([self._begin_ns, np.zeros(count - known, np.int64)])
        for number, name in enumerate(self._catalogue.names(range(known, count)), known):
            last_id, last_ns = self._recovered.get(name, (UNSEEN, 0))
            if last_id > UNSEEN:
                self._last_id[number], self._first_id[number] = last_id, 0
                self._last_ns[number] = self._newest_ns[number] = self._begin_ns[number] = last_ns
        self._ascending.grow(self._last_id[known:])

    def last_ids(self, instruments: NDArray[np.int32]) -> Int64:
        """Return the last id of each of these instruments, UNSEEN where there is none."""
        self._grow()
        return self._last_id[instruments]

    def last_times(self, instruments: NDArray[np.int32]) -> Int64:
        """Return the time in ns of the last trade of each of these instruments, 0 where there is none."""
        self._grow()
        return self._last_ns[instruments]

    def take_up(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Continue where an earlier run ended: (exchange, market_type, symbol) -> (last id, its time in ns).

        Every id up to that one counts as seen. Call it before the first batch.
        """
        self._recovered = last
        self._last_id, self._last_ns, self._newest_ns, self._first_id, self._begin_ns = (
            np.empty(0, np.int64) for _ in range(5))
        self._kind = np.empty(0, np.uint8)
        self._ascending = AscendingIds()

    def continuous(self, numbers: NDArray[np.int32], from_ns: int, to_ns: int) -> NDArray[np.bool_]:
        """Return for which instruments every trade of [from_ns, to_ns) was seen in this run, by contiguous ids."""
        self._grow()
        begin = self._begin_ns[numbers]
        whole: NDArray[np.bool_] = ((self._kind[numbers] == CONTIGUOUS) & (begin > 0) & (begin <= from_ns)
                                    & (self._last_ns[numbers] >= to_ns))
        for row in np.flatnonzero(whole).tolist():
            whole[row] = int(numbers[row]) not in self._missing
        return whole

    def seen_in_run(self, number: int, batch: TradeBatch) -> NDArray[np.bool_]:
        """Return which of these trades of one instrument were seen lately in this run, whether they are stored or not."""
        self._grow()
        kind, ids = int(self._kind[number]), batch.trade_id
        if kind == CONTIGUOUS:
            floor = int(self._first_id[number]) or self.recovered(number)[0] + 1
            last = int(self._last_id[number])
            seen: NDArray[np.bool_] = (ids >= floor) & (ids <= last)
            missing = self._missing.get(number)
            if missing:
                for row in np.flatnonzero(seen).tolist():
                    seen[row] = not missing.holds(int(ids[row]))
            return seen
        if kind == MONOTONIC and batch.text_id is None:
            known = self._ascending.known({number: int(ids.min(initial=2**63 - 1))})[number]
            return np.isin(ids, np.fromiter(known, np.int64, len(known)))
        return np.array([self._unordered.holds(key) for key in _keys(number, batch)], np.bool_)

    def recovered(self, number: int) -> tuple[int, int]:
        """Return the last id that earlier runs stored of an instrument and its time in ns, (UNSEEN, 0) where there is none."""
        return self._recovered.get(self._catalogue.names([number])[0], (UNSEEN, 0))

    def take_in(self, number: int, batch: TradeBatch) -> list[Gap]:
        """Count trades of one instrument from its history as seen; return the gaps that they complete or open.

        They are sorted by id where ids ascend. They do not count as a sign of life: `last_times` stays, except before the
        first trade.
        """
        self._grow()
        if not len(batch):
            return []
        kind, seen = int(self._kind[number]), Seen()
        newest_ns = int(batch.timestamp.max())
        self._last_ns[number] = self._last_ns[number] or newest_ns
        if kind == CONTIGUOUS:
            self._take_in_contiguous(number, batch.trade_id.tolist(), batch.timestamp.tolist(), seen)
        elif kind == MONOTONIC and batch.text_id is None:
            self._ascending.remember(batch.instrument, batch.trade_id)
            self._last_id[number] = max(self._last_id[number], int(batch.trade_id.max()))
        elif kind != NUMBERED:
            self._unordered.fresh(_keys(number, batch))
        self._newest_ns[number] = max(self._newest_ns[number], newest_ns)
        return seen.gaps

    def _take_in_contiguous(self, number: int, ids: list[int], times: list[int], seen: Seen) -> None:
        last, first = int(self._last_id[number]), int(self._first_id[number])
        last_ns = int(self._last_ns[number])
        missing = self._missing.setdefault(number, MissingIds(self._ranges_kept))
        opened: list[tuple[int, int, int, int]] = []
        for trade_id, at_ns in zip(ids, times, strict=True):
            if last == UNSEEN:
                first = last = trade_id
                self._begin_ns[number] = at_ns
            elif trade_id > last:
                if trade_id > last + 1:
                    missing.open(last + 1, trade_id - 1)
                    opened.append((last + 1, trade_id - 1, last_ns, at_ns))
                last = trade_id
            else:
                missing.find(trade_id)
        for trade_id in reversed(ids):
            first = trade_id if trade_id == first - 1 else first
        self._last_id[number], self._first_id[number] = last, first
        self._record_gaps(number, missing, opened, seen)

    def observe(self, batch: TradeBatch, settled: Int64 | None = None) -> Seen:
        """Compare a batch, in order of arrival, with what was seen; remember its ids, and return what to drop.

        settled: the times to use where some trades' own are wrong (see Lag.settled).
        """
        self._grow()
        seen = Seen()
        if not len(batch):
            return seen
        sorted_by = batch.instrument.astype(np.uint16) if len(self._last_id) <= 1 << 16 else batch.instrument
        order = np.argsort(sorted_by, kind="stable")  # numpy sorts 16 bits ten times faster
        times = batch.timestamp if settled is None else settled
        instrument, ids, timestamp = batch.instrument[order], batch.trade_id[order], times[order]
        heads = np.empty(len(order), np.bool_)
        heads[0] = True
        np.not_equal(instrument[1:], instrument[:-1], out=heads[1:])
        starts = np.flatnonzero(heads)
        who, newest = instrument[starts], np.maximum.reduceat(timestamp, starts)
        before = self._last_id[who]
        unseen = before == UNSEEN
        previous = np.empty_like(ids)
        previous[1:] = ids[:-1]
        previous[starts] = before
        step = ids - previous
        step[starts[unseen]] = 1
        ends = np.empty_like(starts)
        ends[:-1] = starts[1:]
        ends[-1] = len(order)
        if not (step == 1).all():  # usually every id is the next one
            kind = self._kind[who]
            special = np.logical_or.reduceat(step != 1, starts) & (kind >= MONOTONIC)
            if special.any():
                special &= (kind == CONTIGUOUS) | np.logical_or.reduceat(step < 1, starts)
            if special.any():
                self._check_each(batch, times, order, who[special], starts[special], ends[special], seen)
                plain = ~special
                who, starts, ends, unseen, newest = who[plain], starts[plain], ends[plain], unseen[plain], newest[plain]
        if unseen.any():
            self._first_id[who[unseen]] = ids[starts[unseen]]
            self._begin_ns[who[unseen]] = timestamp[starts[unseen]]
        last = ends - 1
        self._last_id[who], self._last_ns[who] = ids[last], timestamp[last]
        self._newest_ns[who] = np.maximum(self._newest_ns[who], newest)
        if UNIQUE in self._has or batch.text_id is not None:
            self._drop_unordered(batch, seen)
        if MONOTONIC in self._has:
            ascend = self._kind[batch.instrument] == MONOTONIC
            self._ascending.remember(batch.instrument[ascend], batch.trade_id[ascend])
        return seen

    def _drop_unordered(self, batch: TradeBatch, seen: Seen) -> None:
        """Drop trades whose ids were seen, where ids have no order or are text."""
        kind = self._kind[batch.instrument]
        rows = np.flatnonzero(kind == UNIQUE)
        if batch.text_id is not None:
            texts = np.flatnonzero((kind >= MONOTONIC) & (batch.trade_id < 0))
            texts = texts[batch.text_id[texts] != b""]
            rows = np.concatenate([rows, texts]) if len(texts) else rows
        if not len(rows):
            return
        numbers = batch.instrument[rows]
        ids = ids_of(batch.trade_id[rows], None if batch.text_id is None else batch.text_id[rows])
        fresh = self._unordered.fresh(list(zip(numbers.tolist(), ids, strict=True)))
        if fresh is None:
            return
        doubled = ~np.array(fresh)
        for number in np.unique(numbers[doubled]).tolist():
            twice = rows[doubled & (numbers == number)]
            seen.drop(twice, number, [False] * len(twice), len(batch))

    def _check_each(self, batch: TradeBatch, times: Int64, order: NDArray[np.intp], who: NDArray[np.int32],
                    starts: NDArray[np.intp], ends: NDArray[np.intp], seen: Seen) -> None:
        rows_of = {number: order[start:end] for number, start, end in
                   zip(who.tolist(), starts.tolist(), ends.tolist(), strict=True)}
        lowest = {number: int(batch.trade_id[rows].min()) for number, rows in rows_of.items()
                  if self._kind[number] == MONOTONIC}
        known = self._ascending.known(lowest) if lowest else {}
        for number, rows in rows_of.items():
            ids, at_ns = batch.trade_id[rows].tolist(), times[rows].tolist()
            if number in known:
                fresh = self._monotonic(number, list(zip(ids, at_ns, strict=True)), known[number], seen)
            else:
                fresh = self._contiguous(number, list(zip(ids, at_ns, batch.timestamp[rows].tolist(), strict=True)), seen)
            if not all(fresh):
                seen.drop(rows, number, fresh, len(batch))

    def _contiguous(self, number: int, trades: list[tuple[int, int, int]], seen: Seen) -> list[bool]:
        """Walk the (id, time to use, own time) of one instrument; open and fill gaps on the way."""
        last, last_ns = int(self._last_id[number]), int(self._last_ns[number])
        first, newest_ns = int(self._first_id[number]), int(self._newest_ns[number])
        missing = self._missing.setdefault(number, MissingIds(self._ranges_kept))
        opened: list[tuple[int, int, int, int]] = []
        fresh: list[bool] = []
        for trade_id, at_ns, own_ns in trades:
            new = True
            if last == UNSEEN:
                first, last, last_ns = trade_id, trade_id, at_ns
                self._begin_ns[number] = at_ns
            elif trade_id > last:
                if trade_id > last + 1:
                    missing.open(last + 1, trade_id - 1)
                    opened.append((last + 1, trade_id - 1, last_ns, max(at_ns, own_ns)))
                last, last_ns = trade_id, at_ns
            elif missing.find(trade_id):
                pass
            elif trade_id < last and at_ns > newest_ns + RESTART_NS:
                self._record_gaps(number, missing, opened, seen)
                self._open_gaps.pop(number, None)  # their ids will not come any more: these gaps stay open as recorded
                missing = self._missing[number] = MissingIds(self._ranges_kept)
                opened = []
                seen.gaps.append(self._restart_gap(number, last, last_ns, trade_id, at_ns))
                first, last, last_ns = trade_id, trade_id, at_ns
                self._begin_ns[number] = at_ns
            elif trade_id < first:  # older than the first one seen: arrived out of order at the start
                if first > trade_id + 1:
                    missing.open(trade_id + 1, first - 1)
                first = trade_id
            else:
                new = False
            newest_ns = max(newest_ns, at_ns) if new else newest_ns
            fresh.append(new)
        self._last_id[number], self._last_ns[number], self._first_id[number] = last, last_ns, first
        self._newest_ns[number] = newest_ns
        self._record_gaps(number, missing, opened, seen)
        return fresh

    def _record_gaps(self, number: int, missing: MissingIds, opened: list[tuple[int, int, int, int]], seen: Seen) -> None:
        """Record opened ranges that are still missing as gaps, and gaps whose every id has arrived as filled."""
        known: list[Gap] = []
        for gap in self._open_gaps.get(number, ()):
            assert gap.first_id is not None and gap.last_id is not None
            if missing.holds_any(gap.first_id, gap.last_id):
                known.append(gap)
            else:
                seen.gaps.append(replace(gap, state=GapState.FILLED))
        new = [self._gap(number, skipped) for skipped in opened if missing.holds_any(skipped[0], skipped[1])]
        seen.gaps += new
        if missing:  # a gap whose ids were given up stays open
            self._open_gaps[number] = [gap for gap in known + new if (gap.first_id or 0) > missing.given_up]
        else:
            self._missing.pop(number, None)
            self._open_gaps.pop(number, None)

    def _restart_gap(self, number: int, last: int, last_ns: int, first: int, at_ns: int) -> Gap:
        exchange, market_type = self._catalogue.venues[number]
        return Gap(exchange=exchange, market_type=market_type, symbol=self._catalogue.instruments[number].symbol,
                   from_ns=last_ns, to_ns=at_ns, first_id=None, last_id=None,
                   reason=f"the venue restarted its ids: {first} long after {last}")

    def _gap(self, number: int, opened: tuple[int, int, int, int]) -> Gap:
        first, last, from_ns, to_ns = opened
        exchange, market_type = self._catalogue.venues[number]
        return Gap(exchange=exchange, market_type=market_type, symbol=self._catalogue.instruments[number].symbol,
                   from_ns=min(from_ns, to_ns) or to_ns, to_ns=max(from_ns, to_ns) + 1, first_id=first, last_id=last,
                   reason=f"ids jump from {first - 1} to {last + 1}", state=GapState.OPEN)

    def _monotonic(self, number: int, trades: list[tuple[int, int]], known: set[int], seen: Seen) -> list[bool]:
        """Walk the (id, time) of one instrument whose ids ascend and skip; `known` holds the recent ids."""
        last, last_ns, newest_ns = int(self._last_id[number]), int(self._last_ns[number]), int(self._newest_ns[number])
        fresh = []
        for trade_id, at_ns in trades:
            new = True
            if trade_id > last:
                last, last_ns = trade_id, at_ns
            elif trade_id not in known and trade_id != last and at_ns > newest_ns + RESTART_NS and trade_id >= 0:
                seen.gaps.append(self._restart_gap(number, last, last_ns, trade_id, at_ns))
                self._ascending.restart(number)
                known.clear()
                last, last_ns = trade_id, at_ns
            elif trade_id >= 0:  # a negative number: the id is text
                new = self._ascending.is_new(number, trade_id, known)
            known.add(trade_id)
            newest_ns = max(newest_ns, at_ns) if new else newest_ns
            fresh.append(new)
        self._last_id[number], self._last_ns[number], self._newest_ns[number] = last, last_ns, newest_ns
        return fresh


def ids_of(trade_id: Int64, text_id: NDArray[np.bytes_] | None) -> list[int | bytes]:
    """Return each trade's id: its text, or its number where that is empty."""
    ids: list[int | bytes] = trade_id.tolist()
    if text_id is None:
        return ids
    return [text or number for text, number in zip(text_id.tolist(), ids, strict=True)]


def _keys(number: int, batch: TradeBatch) -> list[tuple[int, int | bytes]]:
    return [(number, trade_id) for trade_id in ids_of(batch.trade_id, batch.text_id)]
