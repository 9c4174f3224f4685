"""Try once to fill one symbol's part of a gap: request the history and judge by the answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pumpwatch.backfill.access import HistoryAccess, Means
from pumpwatch.backfill.answers import APART_NS, KeptAnswer
from pumpwatch.backfill.intake import Intake, Stopping
from pumpwatch.backfill.judge import BY_NOTHING, UNKNOWN, Bounds, GapEvidence, GapVerdict, Range, joined, judge_ids, judge_time
from pumpwatch.backfill.pager import HistoryPart, Pager, id_holes
from pumpwatch.backfill.work import GapWork
from pumpwatch.clock import NS_PER_S
from pumpwatch.downtime import last_received_ns
from pumpwatch.errors import BadFrame
from pumpwatch.model import DISORDER_NS, Flag, GapState, IdKind, TradeBatch
from pumpwatch.venue import AggregatedHistory, HistoryDepth, HistoryQuery

MARGIN_NS = 60 * NS_PER_S  # around a gap; stored trades in it show whether the history agrees with them
LONG_MARGIN_NS = 1200 * NS_PER_S  # before a gap of a rarely traded symbol
DAY_NS = 86_400 * NS_PER_S  # before a gap for which the history gave an empty answer
BESIDE_NS = 10 * NS_PER_S  # more on each side of a query, so that answers overlap with stored trades
WHOLE_NS = 900 * NS_PER_S  # the stored trades of a shorter gap are read at once
LARGE_PAGES = 20
LAGS_NS = 3 * NS_PER_S  # more than a history usually lags behind the stream
LATE_NS = 10 * NS_PER_S  # this long after a gap, a history has all rows of the gap, even with an unusual lag
EARLY_NS = NS_PER_S // 2  # an answer is valid this long for a gap that has just ended
NEVER_NS = 2**63 - 1


class Attempt:
    """One attempt at one piece of work."""

    def __init__(self, access: HistoryAccess, means: Means, work: GapWork, stopping: Callable[[], bool]) -> None:
        self._access, self._means, self.work, self._stopping = access, means, work, stopping
        self._venue, self._depth, self._stores = access.venue, access.venue.history, means.stores
        self.evidence = GapEvidence(spans=joined([*work.spans, *work.filled]))
        self._now_ns = means.clock.now_ns() - access.lag_ns()  # by the venue's clock
        gap = work.gap
        self._asked_ns = 0  # the time of the first request, by the venue's clock
        self._late = self._is_late(self._now_ns) or (means.clock.monotonic() - work.settled_at) * NS_PER_S >= LATE_NS
        self.start_ns, self.end_ns = gap.from_ns, max(gap.from_ns + 1, min(gap.to_ns, self._now_ns))
        self._newest_id = -1  # of the history, however far from the gap
        self._before_ns = 0  # the time of the last known trade before the gap
        self._live_ns = np.empty(0, np.int64)  # the times of the trades in the gap that a killed collector received
        self._skipped_before = work.skipped
        self.never_traded = False  # the history works but has no rows, and no trade of the symbol was ever seen
        self._begins = False  # an answer has the first rows of a history without pages
        self.early = means.clock.monotonic() - work.settled_at < means.options.settle_s  # the gap has just ended
        self.reach_s = math.inf  # the time that the newest rows of a history without pages reach back
        self.intake = Intake(access, means, work, MARGIN_NS, stopping)

    def run(self) -> GapVerdict:
        """Request the history and store trades until the gap can be judged. The stored trades may not be durable on return.

        Raises Unsettled, Stopping, ServiceUnavailable, or one of REFUSALS for an answer that is not a history.
        """
        gap = self.work.gap
        floor_ns, why = self._floor()
        if gap.to_ns <= floor_ns and self.work.verdict is not None:  # it was tried until it was out of reach
            return replace(self.work.verdict, state=GapState.LOST)
        if gap.to_ns <= floor_ns or not self._depth.rows_per_request:
            reason = why if self._depth.rows_per_request else "the venue has no history"
            return GapVerdict(GapState.LOST, BY_NOTHING, self._jumped(), reason, gap.from_ns, gap.to_ns)
        self._skip_received()
        clipped = not self.work.by_jump and self.start_ns < floor_ns
        if clipped:
            self.start_ns = floor_ns
        self.intake.start_ns, self.intake.end_ns = gap.from_ns if gap.from_ns >= floor_ns else self.start_ns, self.end_ns
        if self._venue.id_kind is IdKind.CONTIGUOUS:
            verdict = self._with_aggregates(self._by_ids())
        else:
            verdict = self._by_time()
        if clipped and verdict.state is GapState.FILLED:
            return GapVerdict(GapState.LOST, verdict.by, UNKNOWN, why, gap.from_ns, floor_ns)
        return replace(verdict, lost_from_ns=gap.from_ns) if clipped and verdict.state is GapState.LOST else verdict

    def _skip_received(self) -> None:
        """Begin at the symbol's last trade that a killed collector received, because a connection brings trades in order.

        A connection may have died unnoticed while another one brought later trades. So the history is compared from the beginning
        of the gap; once it shows a missing trade, the last live trade before that one counts.
        """
        received_ns = last_received_ns(self._venue, self.work.gap)
        if received_ns is None or self._depth.pages:
            return
        batch = self._stored(self.start_ns, min(self.end_ns, received_ns + DISORDER_NS))
        fetched = (batch.flags & Flag.BACKFILLED) > 0
        self._live_ns = batch.timestamp[~fetched & (batch.received_at <= received_ns)]
        missed_ns = batch.timestamp[fetched & (batch.received_at > received_ns)]
        self.start_ns = max(self.start_ns, self._last_live_ns(int(missed_ns.min(initial=NEVER_NS))))

    def _last_live_ns(self, missing_ns: int) -> int:
        """Return the time of the killed collector's last trade before a missing one, minus the usual disorder."""
        return int(self._live_ns[self._live_ns < missing_ns].max(initial=0)) - DISORDER_NS

    def _is_late(self, asked_ns: int) -> bool:
        return asked_ns >= self.work.gap.to_ns + LATE_NS

    def read_until_ns(self) -> int:
        """Return the time up to which the history was read from the beginning of the gap; the beginning itself if unknown."""
        if self._venue.id_kind is IdKind.CONTIGUOUS or self.intake.lacking:
            return self.start_ns
        return max((min(high, self.end_ns) for low, high in self.evidence.spans if low < self.start_ns), default=self.start_ns)

    def _jumped(self) -> int:
        gap = self.work.gap
        return UNKNOWN if gap.first_id is None or gap.last_id is None else gap.last_id - gap.first_id + 1

    def _floor(self) -> tuple[int, str]:
        """Return the oldest time that can be filled, in ns, and the reason."""
        options, reach_s = self._means.options, self._depth.reach_s or math.inf
        limits = [(reach_s, f"the venue's history reaches {_lasting(reach_s)} back"),
                  (options.kept_s, "older than store.retention_hours"), (options.reach_s, "older than backfill.reach_h")]
        limit_s, why = min(limits, key=lambda limit: limit[0])
        return self._now_ns - int(limit_s * NS_PER_S), why

    def _bounds(self) -> Bounds:
        limit = "" if self._depth.pages else f"history reaches {self._depth.rows_per_request:,} trades back"
        return Bounds(self.start_ns, self.end_ns, self._depth.pages, limit, self._depth.skips_ids)

    def _stored(self, from_ns: int, to_ns: int) -> TradeBatch:
        return self._stores.stored(self.work.number, from_ns, to_ns)

    # By contiguous ids.

    def _by_ids(self) -> GapVerdict:
        gap = self.work.gap
        if gap.first_id is not None and gap.last_id is not None:
            if gap.to_ns - gap.from_ns < WHOLE_NS or self._is_large(gap.last_id - gap.first_id):
                self._search_store(gap.from_ns - NS_PER_S, gap.to_ns + NS_PER_S)
            ids, _ = self.evidence.known()
            self._read_parts(id_holes(ids, gap.first_id, gap.last_id))
            return self._judge_ids(gap.first_id, gap.last_id)
        lower, upper = self._anchors()
        if lower >= 0 and upper >= 0:
            if self._is_large(upper - lower):
                self._search_store(self.start_ns, self.end_ns)
            ids, _ = self.evidence.known()
            self._read_parts(id_holes(ids, lower + 1, upper - 1))
        elif lower < 0 and upper < 0:
            self._read_back()
        else:  # from the last stored trade on, so that the answer proves to be the history of these trades
            self._read_parts([(lower + 1 if lower >= 0 else -1, upper - 1 if upper >= 0 else -1)])
        return self._judge_ids_of_time()

    def _read_back(self) -> None:
        """Read from the newest rows back to the beginning of the gap, because no stored id is near the gap."""
        if not (self._depth.pages and self._depth.by_id):
            self._read_parts([(-1, -1)])
            return
        self._read(HistoryPart(self.work.symbol, self.start_ns, self.end_ns), replace(self._depth, pages=False))
        history = self.evidence.history_ids()
        if len(history) and self.evidence.spans[0][0] >= self.start_ns and int(history[0]) > 0:
            self._read_parts([(-1, int(history[0]) - 1)])

    def _with_aggregates(self, verdict: GapVerdict) -> GapVerdict:
        """Read the unreachable part from the aggregated history, if the user allows it."""
        aggregated = self._venue.aggregated_history
        if verdict.state is not GapState.LOST or aggregated is None or not self._means.options.aggregated:
            return verdict
        part = HistoryPart(self.work.symbol, verdict.lost_from_ns - BESIDE_NS, verdict.lost_to_ns + BESIDE_NS)
        self._read(part, aggregated.depth, aggregated)
        gap = self.work.gap
        if gap.first_id is not None and gap.last_id is not None:
            again = self._judge_ids(gap.first_id, gap.last_id)
        else:
            again = self._judge_ids_of_time()
        return replace(again, by=f"{again.by}, aggregated") if again.state is GapState.FILLED else again

    def _is_large(self, ids: int) -> bool:
        """Return whether so many ids are missing that it is worth searching the store for them first."""
        return ids > LARGE_PAGES * self._depth.rows_per_request

    def _search_store(self, from_ns: int, to_ns: int) -> None:
        """Add the stored trades of a time of any length to the evidence."""
        for start_ns in range(from_ns, to_ns, WHOLE_NS):
            self._add_stored(self._stored(start_ns, min(to_ns, start_ns + WHOLE_NS)))

    def _add_stored(self, batch: TradeBatch) -> TradeBatch:
        self.evidence.add(batch.trade_id, batch.timestamp)
        gap = self.work.gap
        if gap.first_id is not None and gap.last_id is not None:  # fetched for another gap of the symbol
            fetched = ((batch.flags & Flag.BACKFILLED) > 0) & (batch.trade_id >= gap.first_id) & (batch.trade_id <= gap.last_id)
            self.work.found = max(self.work.found, int(fetched.sum()))
        return batch

    def _anchors(self) -> tuple[int, int]:
        """Return the last stored id shortly before the gap and the first one shortly after it, -1 without one."""
        start_ns, end_ns = self.start_ns, self.end_ns
        if end_ns - start_ns < WHOLE_NS:
            batch = self._add_stored(self._stored(start_ns - MARGIN_NS, end_ns + MARGIN_NS))
        else:
            batch = TradeBatch.concat([self._add_stored(self._stored(start_ns - MARGIN_NS, start_ns)),
                                       self._add_stored(self._stored(end_ns, end_ns + MARGIN_NS))])
        lower, self._before_ns = self._last_before(batch.take(batch.timestamp < start_ns))
        after = batch.trade_id[(batch.timestamp >= end_ns) & (batch.trade_id > lower)]
        return lower, int(after.min()) if len(after) else -1

    def _last_before(self, near: TradeBatch) -> tuple[int, int]:
        """Return the id and the time of the last known trade before the gap; (-1, 0) without one."""
        if not len(near):
            before_ns = self.start_ns - (DAY_NS if self.work.wide else LONG_MARGIN_NS)
            near = self._add_stored(self._stored(before_ns, self.start_ns))
        if len(near):
            row = int((near.trade_id if self._venue.id_kind is IdKind.CONTIGUOUS else near.timestamp).argmax())
            return int(near.trade_id[row]), int(near.timestamp[row])
        last_id, at_ns = self._stores.pipeline.last_before(self.work.number)
        if not 0 < at_ns < self.start_ns:
            return -1, 0
        self.evidence.add(np.array([last_id]), np.array([at_ns]))
        return last_id, at_ns

    def _read_parts(self, ranges: list[tuple[int, int]]) -> None:
        """Request ranges of ids, one by one if the history is queried by id."""
        symbol = self.work.symbol
        if self._depth.pages and self._depth.by_id:
            for first, last in self._in_pages(ranges):  # with the stored trades beside them, which an answer must have
                self._read(HistoryPart(symbol, self.start_ns, self.end_ns, max(first - 1, -1), last + 1 if last >= 0 else -1))
        elif ranges:
            ids = ranges[0] if len(ranges) == 1 else (-1, -1)
            self._read(HistoryPart(symbol, self._from_ns(), self.end_ns + BESIDE_NS, *ids))

    def _from_ns(self) -> int:
        """Return the begin of a query by time, in ns: an answer must have the last known trade before the gap."""
        if self.work.wide and not self._before_ns:
            return self.start_ns - DAY_NS
        from_ns = self.start_ns - BESIDE_NS
        return min(from_ns, self._before_ns - BESIDE_NS) if self._before_ns else from_ns

    def _in_pages(self, ranges: list[Range]) -> list[Range]:
        """Join ranges of ids that fit on one page, with other gaps of the symbol near them, so that one request serves them."""
        page = self._depth.rows_per_request - 2  # two rows are the trades beside
        closed = [ids for ids in ranges if ids[1] >= 0]
        near = self.work.beside.near(closed[0][0] - page, closed[-1][1] + page, self.work) if self.work.beside and closed else []
        pages: list[tuple[int, int, bool]] = []  # first id, last id, whether it is wanted now
        for first, last, wanted in sorted([*((*ids, True) for ids in ranges), *((*ids, False) for ids in near)]):
            low, high, before = pages[-1] if pages else (-1, -1, False)
            if low >= 0 and high >= 0 and last >= 0 and max(last, high) - low < page:
                pages[-1] = low, max(last, high), wanted or before
            else:
                pages.append((first, last, wanted))
        return [(first, last) for first, last, wanted in pages if wanted]

    def _judge_ids_of_time(self) -> GapVerdict:
        """Judge a time by the ids around it; if one side has no id, judge by the part of the history that was read."""
        bounds = self._bounds()
        ids, times = self.evidence.known()
        before = ids[times < self.start_ns]
        lower = int(before.max()) if len(before) else -1
        after = ids[(times >= self.end_ns) & (ids > lower)]
        upper = int(after.min()) if len(after) else -1
        if upper < 0:
            newest = self._newest_id
            if newest < max(lower, self._stores.pipeline.last_seen(self.work.number)):
                return GapVerdict(GapState.OPEN, BY_NOTHING, UNKNOWN, "the venue's history ends before the gap does",
                               self.start_ns, self.end_ns)
            upper = newest + 1
        if lower < 0:
            by_time = judge_time(bounds, self.evidence)
            if by_time.state is not GapState.FILLED:
                return by_time
            inside = ids[(times >= self.start_ns) & (ids < upper)]
            lower = int(inside.min(initial=upper)) - 1
        return self._judge_ids(lower + 1, upper - 1)

    def _judge_ids(self, first_id: int, last_id: int) -> GapVerdict:
        """Judge by ids. Keep the ids that a history skips, so that a later answer can confirm that they are not trades."""
        asked_ns, skipped = self._skipped_before
        if self._depth.skips_ids and self._asked_ns >= asked_ns + APART_NS:
            self.evidence.skipped_before = skipped
            self.work.skipped = self._asked_ns, self.evidence.skipped()
        return judge_ids(self._bounds(), self.evidence, first_id, last_id)

    # By time.

    def _by_time(self) -> GapVerdict:
        covered = judge_time(self._bounds(), GapEvidence(spans=joined(self.work.filled)))
        if covered.state is GapState.FILLED:  # by other gaps of the symbol
            return covered
        self._before_ns = self._last_before(self._stored(self.start_ns - MARGIN_NS, self.start_ns))[1]
        self._read(HistoryPart(self.work.symbol, self._from_ns(), self.end_ns + BESIDE_NS))
        self.evidence.lacking = self.intake.lacking
        return judge_time(self._bounds(), self.evidence)

    def _read(self, part: HistoryPart, depth: HistoryDepth | None = None, aggregated: AggregatedHistory | None = None) -> None:
        """Request a part, page by page, and store the new trades in the gap."""
        venue = self._venue
        pager = Pager(depth or self._depth, venue.timestamp_unit_ns, part)
        while (query := pager.query) is not None:
            answer = self._answer(query) if aggregated is None else self._ask(query, aggregated)
            parsed = answer.parsed
            self._access.answers.drop(self.work.symbol)
            self.work.asked_ns = max(self.work.asked_ns, answer.asked_ns)
            pager.add_answer(parsed.batch.trade_id, parsed.batch.timestamp)
            self._newest_id = max(self._newest_id, int(parsed.batch.trade_id.max(initial=-1)))
            rows, stored = self.intake.store_missing(parsed)
            self.evidence.add(stored.trade_id, stored.timestamp)
            self.evidence.add(rows.trade_id, rows.timestamp, of_history=True)
            if aggregated is None and not self.intake.lacking:
                self._begins = self._access.answers.begins(answer, self._depth)
                self.evidence.short |= not self._depth.pages and len(parsed.batch) < self._depth.rows_per_request
                self._access.answers.keep(answer, self._depth)
        self._add_span(pager, part)

    def _answer(self, query: HistoryQuery) -> KeptAnswer:
        """Return an earlier answer that is late enough for this gap and was not used for it, else request a new one."""
        if self.early:
            since_ns = max(self.work.gap.to_ns, self.work.asked_ns + 1, self._now_ns - EARLY_NS)
        else:
            since_ns = max(self.work.gap.to_ns + LAGS_NS, self.work.asked_ns + APART_NS)
        known = self._access.answers.find(query, self._depth, since_ns)
        if known is None:
            return self._ask(query, None)
        self._now_ns = min(self._now_ns, known.asked_ns)
        self._asked_ns, self._late = known.asked_ns, self._is_late(known.asked_ns)
        return known

    def _ask(self, query: HistoryQuery, aggregated: AggregatedHistory | None) -> KeptAnswer:
        venue = self._venue
        request = (aggregated.request if aggregated else venue.history_request)(query)
        if not self._access.share.acquire(request.weight, self._stopping):
            raise Stopping
        self._means.stats.add("history_requests_total", venue=venue.name)
        asked_ns = self._means.clock.now_ns() - self._access.lag_ns()
        self._asked_ns = self._asked_ns or asked_ns
        parsed = self._access.parser.history(self._access.ask(request), self.work.symbol,
                                             aggregated.parse if aggregated else venue.parse_history)
        if len(parsed.batch):
            self._access.answers.rows_asked_ns = asked_ns
        return KeptAnswer(asked_ns, query, parsed)

    def _add_span(self, pager: Pager, part: HistoryPart) -> None:
        """Add to the evidence the time that the answers of a part cover, and the stored trades after their end."""
        low_ns, high_ns = pager.low_ns, pager.high_ns
        if low_ns > high_ns or high_ns < 0:
            self._check_empty()
            return
        if not self._before_ns and (pager.short or self._begins or (pager.whole and part.first_id < 0 and self.work.attempts)):
            low_ns = 0  # the answer is not full, and no older trade is known; several pages need two answers to agree
        self.evidence.short |= pager.short
        if not self._depth.pages and not pager.short:
            self.reach_s = (high_ns - low_ns) / NS_PER_S
        self.evidence.ended = self._late and (pager.whole or not self._depth.pages)
        live_ns = max(self.intake.start_ns, self._last_live_ns(self.intake.oldest_ns))
        if len(self._live_ns) and live_ns < self.start_ns:
            self.start_ns = live_ns
            self.evidence.spans = joined(self.work.filled)  # earlier answers were judged from a later trade on
        stored_ns = min(high_ns, max(low_ns, self.end_ns))  # later rows were not stored
        if self.early:  # the newest rows may still be out of order and incomplete
            stored_ns = min(stored_ns, self._asked_ns - LAGS_NS)
        self.evidence.add_span(low_ns, stored_ns)
        if not self.intake.lacking:
            self.work.spans = self.evidence.spans
        if high_ns < self.end_ns and self._venue.id_kind is not IdKind.CONTIGUOUS:
            until_ns = self._now_ns - LAGS_NS
            after = self._stored(high_ns + 1 + self._depth.resolution_ns,
                                 min(until_ns, part.end_ns) if self._depth.pages else until_ns)
            self.evidence.stored_after_ns = int(after.timestamp.max(initial=0))

    def _check_empty(self) -> None:
        """Raise BadFrame for an empty answer if any trade of the symbol is known; make the next try look further back."""
        pipeline, number = self._stores.pipeline, self.work.number
        near = self._before_ns > 0 or self.evidence.known()[0].size > 0
        self.work.wide |= not near
        if near or pipeline.last_before(number)[1] > 0 or pipeline.last_seen(number) >= 0:
            self._access.answers.drop(self.work.symbol)
            raise BadFrame("the venue's history has no rows although trades are stored")
        self.never_traded = self._access.answers.rows_asked_ns >= self.work.gap.to_ns


def _lasting(seconds: float) -> str:
    """Return a duration in words: `30 days`, `48 hours`."""
    return f"{seconds / 86_400:.0f} days" if seconds >= 3 * 86_400 else f"{seconds / 3600:.0f} hours"
