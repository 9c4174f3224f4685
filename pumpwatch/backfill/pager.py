"""Choose the next request for a part of a symbol's history by the answers so far. No request is sent here.

An answer that is at least half full may be truncated, so the next request continues after its last new row. A shorter answer has
all rows of its query: half a page is far more than a faulty page lacks. An answer without a new row ends the paging, even if it
has other rows: repeated rows, or rows outside the query. If these fill the answer, it proves nothing about the rest of its
query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Int64
from pumpwatch.venue import HistoryDepth, HistoryQuery

MOST_PAGES = 5000  # per part: five million trades with pages of a thousand


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """The wanted part of a symbol's history: [start_ns, end_ns), or the ids [first_id, last_id] (-1: open)."""

    symbol: str
    start_ns: int
    end_ns: int
    first_id: int = -1
    last_id: int = -1


class Pager:
    """Pages through one part. query: the next request, None at the end. `add_answer` gets each answer.

    low_ns, high_ns: every row of the history in [low_ns, high_ns] was in an answer; high_ns is the time of the newest row,
    because a lagging history may end there. short: the last answer was not full, so a history of newest rows has no older
    rows. whole: the part was read completely. unit_ns: the venue's unit of time.
    """

    def __init__(self, depth: HistoryDepth, unit_ns: int, part: HistoryPart) -> None:
        self._depth, self._part = depth, part
        self._unit_ns = max(unit_ns, depth.resolution_ns)
        self._by_id = depth.pages and depth.by_id and (part.first_id >= 0 or part.last_id >= 0)
        self._upwards = depth.oldest_first and (not self._by_id or part.first_id >= 0)
        self._first, self._last = part.first_id, part.last_id
        self._start, self._end = part.start_ns, part.end_ns
        self._border_ns = -1  # the time of the oldest row so far, at which the next answer must begin
        self._late_ns = 0  # each query ends this much later than the wanted part
        self.low_ns, self.high_ns = 2**63 - 1, -(2**63)
        self.pages, self.short, self.whole = 0, False, False
        self.query: HistoryQuery | None = self._next()

    def _next(self) -> HistoryQuery | None:
        part = self._part
        if not self._depth.pages:
            return HistoryQuery(part.symbol, part.start_ns, part.end_ns, part.first_id, part.last_id)
        if self._by_id:
            first = self._first
            if self._depth.oldest_first and first < 0:  # pages begin at an id: step down by a page
                first = max(0, self._last - self._depth.rows_per_request + 1)
            return HistoryQuery(part.symbol, self._start, self._end, first, self._last)
        window = self._depth.window_s
        span = self._end - self._start if math.isinf(window) else int(window * NS_PER_S)
        if self._upwards:
            return HistoryQuery(part.symbol, self._start, min(self._end, self._start + span))
        end = self._end + self._late_ns
        return HistoryQuery(part.symbol, self._start if math.isinf(window) else max(self._start, end - span), end)

    def add_answer(self, ids: Int64, times: Int64) -> None:
        """Process the rows of the answer to `query`: ids (negative for text ids) and times, in any order."""
        asked, self.query = self.query, None
        assert asked is not None
        self.pages += 1
        full = 2 * len(times) >= self._depth.rows_per_request
        if not self._depth.pages:
            self.short = not full
            if len(times):
                self.low_ns, self.high_ns = int(times.min()), int(times.max())
            return
        more = self._take_ids(asked, ids, times, full) if self._by_id else self._take_times(asked, times, full)
        if more and self.pages < MOST_PAGES:
            self.query = self._next()

    def _take_ids(self, asked: HistoryQuery, ids: Int64, times: Int64, full: bool) -> bool:
        last_id = asked.last_id if asked.last_id >= 0 else 2**63 - 1
        begins_later = self._depth.oldest_first and len(ids) > 0 and int(ids.min()) > last_id
        inside = (ids >= max(asked.first_id, 0)) & (ids <= last_id)
        ids, times = ids[inside], times[inside]
        if not len(ids):
            self.whole = not full or begins_later
            return False
        self._extend(times)
        if self._upwards:
            self._first = int(ids.max()) + 1
            ended = 0 <= self._last < self._first or (self._last < 0 and int(times.max()) >= self._end)
            self.whole = ended or not full
            return not self.whole
        lowest = int(ids.min())
        bottom = asked.first_id if self._depth.oldest_first else lowest
        self._last = min(lowest, bottom) - 1
        ended = self._last < max(self._part.first_id, 0) or (self._part.first_id < 0 and int(times.min()) < self._start)
        self.whole = ended or (not full and not self._depth.oldest_first)
        return not self.whole

    def _take_times(self, asked: HistoryQuery, times: Int64, full: bool) -> bool:
        times = times[(times >= asked.start_ns - self._unit_ns) & (times < asked.end_ns + self._unit_ns)]
        if full and not len(times):
            return False
        if not self._late_ns and int(times.max(initial=-1)) < self._border_ns:
            self._late_ns = NS_PER_S  # the last row so far is missing: the venue rounds the end down to seconds
            return True
        self._extend(times)
        if self._upwards:
            newest = int(times.max()) if len(times) else asked.end_ns
            if full and len(times):
                if newest <= self._start:
                    return False
                self._start = newest
            else:
                self._start = asked.end_ns
            self.low_ns = min(self.low_ns, asked.start_ns)
            self.whole = self._start >= self._end
            return not self.whole
        oldest = int(times.min()) if len(times) else asked.start_ns
        if full and len(times):
            if oldest + self._unit_ns >= self._end:
                return False
            self._end, self._border_ns = oldest + self._unit_ns, oldest
        else:
            self._end, self._border_ns = asked.start_ns, -1
            self.low_ns = min(self.low_ns, asked.start_ns)
        self.whole = self._end <= self._start
        return not self.whole

    def _extend(self, times: Int64) -> None:
        if len(times):
            self.low_ns, self.high_ns = min(self.low_ns, int(times.min())), max(self.high_ns, int(times.max()))


def id_holes(ids: Int64, first_id: int, last_id: int) -> list[tuple[int, int]]:
    """Return the ranges of [first_id, last_id] that are not among ascending ids."""
    inside = ids[(ids >= first_id) & (ids <= last_id)]
    edges = np.concatenate([[first_id - 1], inside, [last_id + 1]])
    at = np.flatnonzero(np.diff(edges) > 1)
    return [(int(edges[place]) + 1, int(edges[place + 1]) - 1) for place in at]
