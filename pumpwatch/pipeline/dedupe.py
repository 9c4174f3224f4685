"""Drop trades that were seen before, and record a gap for skipped ids.

If ids ascend, the last id of each instrument decides, by column: a few numpy calls check the whole batch, and only instruments
whose ids did not simply advance are checked trade by trade. If ids have no order, recent ids are remembered.

A lower id on a trade some seconds newer than all before is not a repetition, which would have its old time. The venue has
restarted its ids (a symbol listed again, another channel with its own ids). The trade is kept, the earlier ids are forgotten,
and the time between is a gap. Trades that come sooner after a restart look like repetitions and are dropped, inside that gap.
They are not held back until the case is clear, because a trade that is held back is not durable, and on a slow symbol the wait
could take an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap, IdKind, Int64, TradeBatch
from pumpwatch.pipeline.certain_repeats import CertainRepeats, Race
from pumpwatch.pipeline.missing_ids import RANGES_KEPT, SkippedIds
from pumpwatch.pipeline.seen_ids import CONTIGUOUS, MONOTONIC, NUMBERED, RESTART_NS, UNIQUE, UNSEEN, SeenIds, ids_of

EXPECTED_FOR = 500  # after this many batches without a repetition, repetitions are no longer expected


@dataclass(slots=True)
class Seen:
    """The result of `observe`: rows to keep (None: all), numbers of repeated trades by instrument, opened or filled gaps.

    races: of some of the repeated trades.
    """

    keep: NDArray[np.bool_] | None = None
    doubled: dict[int, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    races: list[Race] = field(default_factory=list)

    def drop(self, rows: NDArray[np.intp], number: int, fresh: list[bool], count: int) -> None:
        """Mark these rows of an instrument, in a batch of `count` rows, as kept or dropped."""
        if self.keep is None:
            self.keep = np.ones(count, np.bool_)
        self.keep[rows] = fresh
        self.doubled[number] = self.doubled.get(number, 0) + fresh.count(False)


class Dedupe(SeenIds):
    """Compares live trades with the seen ids. id_kind_of(exchange, market_type): returns the kind of ids."""

    def __init__(self, catalogue: Catalogue, id_kind_of: Callable[[str, str], IdKind], ranges_kept: int = RANGES_KEPT) -> None:
        super().__init__(catalogue, id_kind_of, ranges_kept)
        self._repeats: CertainRepeats | None = None  # only while trades come twice
        self._without_repeats = 0  # number of batches

    def observe(self, batch: TradeBatch, settled: Int64 | None = None, source: Int64 | None = None) -> Seen:
        """Compare a batch, in order of arrival, with the seen ids; remember its ids, and return which rows to keep.

        settled: corrected times (see Lag.corrected_times), if some trades' own times are wrong. source: the number of each row's
        connection, if two connections bring the same trades.
        """
        self._grow()
        found = None
        if self._repeats is not None and len(batch):
            found = self._repeats.find(batch, self._kind[batch.instrument] != NUMBERED, source)
        if found is None:
            seen = self._observe(batch, settled)
        else:
            fresh = np.flatnonzero(~found.rows)
            seen = self._observe(batch.take(fresh), None if settled is None else settled[fresh])
            keep = ~found.rows
            if seen.keep is not None:
                keep[fresh] = seen.keep
            seen.keep, seen.races = keep, found.races
            for number, count in zip(*np.unique(batch.instrument[found.rows], return_counts=True), strict=True):
                seen.doubled[int(number)] = seen.doubled.get(int(number), 0) + int(count)
        self._expect_repeats(bool(seen.doubled) or source is not None)
        return seen

    def _expect_repeats(self, repeated: bool) -> None:
        """Keep the table of recent trades while trades come twice, and for a while afterwards."""
        self._without_repeats = 0 if repeated else self._without_repeats + 1
        if repeated and self._repeats is None:
            self._repeats = CertainRepeats()
        elif self._without_repeats > EXPECTED_FOR:
            self._repeats = None

    def _observe(self, batch: TradeBatch, settled: Int64 | None = None) -> Seen:
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
        if self._resumed or not (step == 1).all():  # usually every id is the next one
            kind = self._kind[who]
            special = np.logical_or.reduceat(step != 1, starts) & (kind >= MONOTONIC)
            if special.any():
                special &= (kind == CONTIGUOUS) | np.logical_or.reduceat(step < 1, starts)
            if self._resumed:
                special |= np.isin(who, np.fromiter(self._resumed, np.int64, len(self._resumed))) & (kind >= MONOTONIC)
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
        """Drop trades whose ids were seen, if ids have no order or are text."""
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
        """Check the (id, time to use, own time) of one instrument in order; open and fill gaps."""
        last, last_ns = int(self._last_id[number]), int(self._last_ns[number])
        first, newest_ns = int(self._first_id[number]), int(self._newest_ns[number])
        missing = self._missing.setdefault(number, SkippedIds(self._ranges_kept))
        opened: list[tuple[int, int, int, int]] = []
        fresh: list[bool] = []
        resumed = number in self._resumed
        for trade_id, at_ns, own_ns in trades:
            new = True
            if last == UNSEEN:
                first, last, last_ns = trade_id, trade_id, at_ns
                self._begin_ns[number] = at_ns
            elif trade_id > last:
                if trade_id > last + 1:
                    missing.open(last + 1, trade_id - 1)
                    if not resumed:
                        opened.append((last + 1, trade_id - 1, last_ns or newest_ns, max(at_ns, own_ns)))
                last, last_ns, resumed = trade_id, at_ns, False
            elif missing.find(trade_id):
                pass
            elif trade_id < last and at_ns > newest_ns + RESTART_NS:
                self._record_gaps(number, missing, opened, seen.gaps)
                self._open_gaps.pop(number, None)  # their ids will never come: these gaps stay open as recorded
                missing = self._missing[number] = SkippedIds(self._ranges_kept)
                opened = []
                if not resumed:
                    seen.gaps.append(self._restart_gap(number, last, last_ns, trade_id, at_ns))
                first, last, last_ns, resumed = trade_id, trade_id, at_ns, False
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
        if not resumed:
            self._resumed.discard(number)
        self._record_gaps(number, missing, opened, seen.gaps)
        return fresh

    def _restart_gap(self, number: int, last: int, last_ns: int, first: int, at_ns: int) -> Gap:
        exchange, market_type = self._catalogue.venues[number]
        return Gap(exchange=exchange, market_type=market_type, symbol=self._catalogue.instruments[number].symbol,
                   from_ns=last_ns, to_ns=at_ns, reason=f"the venue restarted its ids: {first} long after {last}")

    def _monotonic(self, number: int, trades: list[tuple[int, int]], known: set[int], seen: Seen) -> list[bool]:
        """Check the (id, time) of one instrument, whose ids ascend and skip, in order. known: its recent ids."""
        last, last_ns, newest_ns = int(self._last_id[number]), int(self._last_ns[number]), int(self._newest_ns[number])
        fresh = []
        resumed = number in self._resumed
        self._resumed.discard(number)
        for trade_id, at_ns in trades:
            new = True
            if trade_id > last:
                last, last_ns = trade_id, at_ns
            elif trade_id not in known and trade_id != last and at_ns > newest_ns + RESTART_NS and trade_id >= 0:
                if not resumed:
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
