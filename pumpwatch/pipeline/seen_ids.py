"""Remember the seen ids of every instrument: the last id, the skipped ranges before it, and recent ids that do not count by one.

Live trades (dedupe.py) and a venue's history are compared with them. Ids are known since the beginning of the run, and before it
up to the last ids that earlier runs stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState, IdKind, Int64, TradeBatch
from pumpwatch.pipeline.missing_ids import RANGES_KEPT, SkippedIds
from pumpwatch.pipeline.recent_ids import AscendingIds, UnorderedIds

UNSEEN = -1
RESTART_NS = 5 * NS_PER_S  # far more than the disorder of neighbouring ids, which was 0 in 47,000 recorded trades

CONTIGUOUS, MONOTONIC, UNIQUE, NUMBERED = 3, 2, 1, 0
CODES = {IdKind.CONTIGUOUS: CONTIGUOUS, IdKind.MONOTONIC: MONOTONIC, IdKind.UNIQUE: UNIQUE, IdKind.NONE: NUMBERED}


class SeenIds:
    """Remembers the ids of every instrument. id_kind_of(exchange, market_type): returns their kind."""

    def __init__(self, catalogue: Catalogue, id_kind_of: Callable[[str, str], IdKind], ranges_kept: int = RANGES_KEPT) -> None:
        self._catalogue, self._id_kind_of, self._ranges_kept = catalogue, id_kind_of, ranges_kept
        self._missing: dict[int, SkippedIds] = {}
        self._open_gaps: dict[int, list[Gap]] = {}
        self._unordered = UnorderedIds()
        self._recovered: Mapping[tuple[str, str, str], tuple[int, int]] = {}
        self._last_id: Int64 = np.empty(0, np.int64)
        self._last_ns: Int64 = np.empty(0, np.int64)  # the time of the last id
        self._newest_ns: Int64 = np.empty(0, np.int64)  # of all trades; the trade with the last id may be an older, late one
        self._first_id: Int64 = np.empty(0, np.int64)
        self._begin_ns: Int64 = np.empty(0, np.int64)  # every skipped id is known from this time on; 0: never
        self._kind: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._has: set[int] = set()  # the kinds of all known instruments
        self._ascending = AscendingIds()
        self._resumed: set[int] = set()  # their next jump proves nothing: another collector may have read the skipped trades

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
        """Return the last id of each of these instruments, UNSEEN without one."""
        self._grow()
        return self._last_id[instruments]

    def last_times(self, instruments: NDArray[np.int32]) -> Int64:
        """Return the time in ns of the last trade of each of these instruments, 0 without one."""
        self._grow()
        return self._last_ns[instruments]

    def continue_after(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
        """Continue where an earlier run ended: (exchange, market_type, symbol) -> (last id, its time in ns).

        Every id up to that one counts as seen. Call it before the first batch.
        """
        self._recovered = last
        self._last_id, self._last_ns, self._newest_ns, self._first_id, self._begin_ns = (
            np.empty(0, np.int64) for _ in range(5))
        self._kind = np.empty(0, np.uint8)
        self._ascending = AscendingIds()

    def resume(self, numbers: Iterable[int]) -> None:
        """Expect a jump of ids on each of these instruments, because another collector has read them meanwhile.

        The skipped ids count as missing, so that their trades are kept if they come, but no gap is recorded.
        """
        self._grow()
        self._resumed.update(number for number in numbers if self._kind[number] >= MONOTONIC and self._last_id[number] > UNSEEN)

    def continuous(self, numbers: NDArray[np.int32], from_ns: int, to_ns: int) -> NDArray[np.bool_]:
        """Return a mask of the instruments with every trade of [from_ns, to_ns) seen in this run, by contiguous ids."""
        self._grow()
        begin = self._begin_ns[numbers]
        whole: NDArray[np.bool_] = ((self._kind[numbers] == CONTIGUOUS) & (begin > 0) & (begin <= from_ns)
                                    & (self._last_ns[numbers] >= to_ns))
        for row in np.flatnonzero(whole).tolist():
            whole[row] = int(numbers[row]) not in self._missing
        return whole

    def seen_in_run(self, number: int, batch: TradeBatch) -> NDArray[np.bool_]:
        """Return a mask of these trades of one instrument that were recently seen in this run, whether stored or not."""
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
        """Return the last id that earlier runs stored of an instrument and its time in ns, (UNSEEN, 0) without one."""
        return self._recovered.get(self._catalogue.names([number])[0], (UNSEEN, 0))

    def add_history(self, number: int, batch: TradeBatch) -> list[Gap]:
        """Count trades of one instrument from its history as seen; return the gaps that they complete or open.

        Trades with ascending ids must be sorted by id. They do not count as a sign of life: `last_times` stays unchanged.
        """
        self._grow()
        if not len(batch):
            return []
        kind, gaps = int(self._kind[number]), list[Gap]()
        newest_ns = int(batch.timestamp.max())
        if kind == CONTIGUOUS:
            self._add_contiguous_history(number, batch.trade_id.tolist(), batch.timestamp.tolist(), gaps)
        elif kind == MONOTONIC and batch.text_id is None:
            self._ascending.remember(batch.instrument, batch.trade_id)
            self._last_id[number] = max(self._last_id[number], int(batch.trade_id.max()))
        elif kind != NUMBERED:
            self._unordered.fresh(_keys(number, batch))
        self._newest_ns[number] = max(self._newest_ns[number], newest_ns)
        return gaps

    def _add_contiguous_history(self, number: int, ids: list[int], times: list[int], gaps: list[Gap]) -> None:
        last, first = int(self._last_id[number]), int(self._first_id[number])
        last_ns = int(self._last_ns[number]) or int(self._newest_ns[number])
        missing = self._missing.setdefault(number, SkippedIds(self._ranges_kept))
        opened: list[tuple[int, int, int, int]] = []
        for trade_id, at_ns in zip(ids, times, strict=True):
            if last == UNSEEN:
                first = last = trade_id
                self._begin_ns[number] = at_ns
            elif trade_id > last:
                if trade_id > last + 1:
                    missing.open(last + 1, trade_id - 1)
                    if number not in self._resumed:
                        opened.append((last + 1, trade_id - 1, last_ns, at_ns))
                last = trade_id
            else:
                missing.find(trade_id)
        for trade_id in reversed(ids):
            first = trade_id if trade_id == first - 1 else first
        self._last_id[number], self._first_id[number] = last, first
        self._record_gaps(number, missing, opened, gaps)

    def follow(self, last: Mapping[tuple[str, str, str], tuple[int, int]]) -> list[Gap]:
        """Continue after another process that read the same trades until now, and stored them up to these last ids.

        Every id up to them counts as seen. Return the gaps where contiguous ids do not continue.
        """
        self._grow()
        self._recovered = {**self._recovered, **last}
        gaps: list[Gap] = []
        for number, name in enumerate(self._catalogue.names(range(len(self._last_id)))):
            last_id, last_ns = last.get(name, (UNSEEN, 0))
            if last_id <= UNSEEN:
                continue
            if self._last_id[number] == UNSEEN:
                self._last_id[number] = last_id
                self._last_ns[number] = self._newest_ns[number] = last_ns
                self._ascending.raise_floor(number, last_id)
            elif self._kind[number] == CONTIGUOUS:
                gaps += self._continued(number, last_id, last_ns)
            self._first_id[number] = 0
        return gaps

    def _continued(self, number: int, last_id: int, last_ns: int) -> list[Gap]:
        """Return the gaps of one instrument that were found here, limited to ids after the other process's last id."""
        first_id = int(self._first_id[number])
        found = [replace(gap, first_id=max(gap.first_id or 0, last_id + 1)) for gap in self._open_gaps.get(number, ())
                 if (gap.last_id or 0) > last_id]
        if first_id > last_id + 1:
            self._missing.setdefault(number, SkippedIds(self._ranges_kept)).open(last_id + 1, first_id - 1)
            found.insert(0, self._gap(number, (last_id + 1, first_id - 1, last_ns, int(self._newest_ns[number]))))
        self._open_gaps[number] = found
        self._last_id[number] = max(int(self._last_id[number]), last_id)
        return found

    def _record_gaps(self, number: int, missing: SkippedIds, opened: list[tuple[int, int, int, int]],
                     gaps: list[Gap]) -> None:
        """Add to `gaps` the opened ranges that are still missing, and as filled the open gaps whose ids have all arrived."""
        known: list[Gap] = []
        for gap in self._open_gaps.get(number, ()):
            assert gap.first_id is not None and gap.last_id is not None
            if missing.holds_any(gap.first_id, gap.last_id):
                known.append(gap)
            else:
                gaps.append(replace(gap, state=GapState.FILLED))
        new = [self._gap(number, skipped) for skipped in opened if missing.holds_any(skipped[0], skipped[1])]
        gaps += new
        if missing:  # a gap whose ids were given up stays open
            self._open_gaps[number] = [gap for gap in known + new if (gap.first_id or 0) > missing.given_up]
        else:
            self._missing.pop(number, None)
            self._open_gaps.pop(number, None)

    def _gap(self, number: int, opened: tuple[int, int, int, int]) -> Gap:
        first, last, from_ns, to_ns = opened
        exchange, market_type = self._catalogue.venues[number]
        return Gap(exchange=exchange, market_type=market_type, symbol=self._catalogue.instruments[number].symbol,
                   from_ns=min(from_ns, to_ns) or to_ns, to_ns=max(from_ns, to_ns) + 1, first_id=first, last_id=last,
                   reason=f"ids jump from {first - 1} to {last + 1}")


def ids_of(trade_id: Int64, text_id: NDArray[np.bytes_] | None) -> list[int | bytes]:
    """Return each trade's id: its text, or its number if the text is empty."""
    ids: list[int | bytes] = trade_id.tolist()
    if text_id is None:
        return ids
    return [text or number for text, number in zip(text_id.tolist(), ids, strict=True)]


def _keys(number: int, batch: TradeBatch) -> list[tuple[int, int | bytes]]:
    return [(number, trade_id) for trade_id in ids_of(batch.trade_id, batch.text_id)]
