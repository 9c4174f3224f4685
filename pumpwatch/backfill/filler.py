"""Fill the gaps of one venue, one symbol of a gap at a time, and return each result once its trades are durable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from pumpwatch.backfill.access import HistoryAccess, Means
from pumpwatch.backfill.attempt import Attempt
from pumpwatch.backfill.intake import DURABLE_S, Unsettled
from pumpwatch.backfill.judge import BY_EMPTINESS, BY_ID, BY_OVERLAP, UNKNOWN, GapVerdict
from pumpwatch.backfill.work import GapWork
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill, Records
from pumpwatch.store.pending_records import gap_key

ATTEMPTS = 4  # answers that may leave a gap unsettled; then the trades that a history without pages lacks count as lost
ASKED_AGAIN_AT = 0.3  # of the time that newest rows reach back, so that the next answer overlaps with the last one
NEVER_TRADED = "the symbol has not traded: its history is empty, while that of others is not"
MOST_COUNTED = 20  # attempts; the pauses between them stop growing long before that


class Filler:
    """Fills gaps of one venue. `fill` may be called by several greenlets, for different symbols."""

    def __init__(self, access: HistoryAccess, means: Means, stopping: Callable[[], bool]) -> None:
        self._access, self._means, self._stopping = access, means, stopping

    def fill(self, work: GapWork) -> GapFill:
        """Try to fill a symbol's part of a gap and return the result, with every fetched trade durable.

        Raises Unsettled or ServiceUnavailable for another try, one of REFUSALS for an answer that is not a history, Stopping.
        """
        attempt = Attempt(self._access, self._means, work, self._stopping)
        verdict = attempt.run()
        if not self._means.stores.wait_durable(DURABLE_S):
            raise Unsettled("the fetched trades are not durable yet")
        now_ns = self._means.clock.now_ns()
        self._record_others(attempt, now_ns)
        if attempt.early and not work.by_jump:
            self._record_read(attempt, now_ns)
            raise Unsettled("the venue's history may lag: it will be read once more", attempt.reach_s * ASKED_AGAIN_AT)
        if verdict.state is GapState.OPEN:
            work.attempts, work.verdict = min(work.attempts + 1, MOST_COUNTED), verdict
            if work.attempts < ATTEMPTS or (self._access.venue.history.pages and attempt.evidence.spans):
                self._record_read(attempt, now_ns)
                raise Unsettled(verdict.reason)  # pages are requested again until the gap is out of reach
            verdict = GapVerdict(GapState.FILLED, BY_EMPTINESS, reason=NEVER_TRADED) if attempt.never_traded else replace(
                verdict, state=GapState.LOST)
        return fill_of(work.gap, work.symbol, verdict, work.found, now_ns)

    def _record_read(self, attempt: Attempt, now_ns: int) -> None:
        """Record how far a gap was read, if a later run could not read that part again because newest rows move on."""
        work, read_ns = attempt.work, attempt.read_until_ns()
        if math.isfinite(attempt.reach_s) and read_ns > work.gap.from_ns:
            verdict = GapVerdict(GapState.OPEN, BY_OVERLAP, UNKNOWN, "", read_ns, work.gap.to_ns)
            self._means.stores.record(Records(fills=[fill_of(work.gap, work.symbol, verdict, work.found, now_ns)]))

    def _record_others(self, attempt: Attempt, now_ns: int) -> None:
        """Record other gaps of the symbol that the fetched trades have completed."""
        own = gap_key(attempt.work.gap)
        filled = [gap for gap in attempt.intake.gaps if gap.state is GapState.FILLED and gap_key(gap) != own]
        if filled:
            self._means.stores.record(Records(gaps=filled, fills=[
                fill_of(gap, gap.symbol, GapVerdict(GapState.FILLED, BY_ID), attempt.intake.found_in(gap), now_ns)
                for gap in filled]))


def fill_of(gap: Gap, symbol: str, verdict: GapVerdict, found: int, now_ns: int) -> GapFill:
    """Return a verdict as a record."""
    return GapFill(gap=gap, symbol=symbol, state=verdict.state, found=found, missing=verdict.missing, by=verdict.by,
                   reason=verdict.reason, lost_from_ns=verdict.lost_from_ns, lost_to_ns=verdict.lost_to_ns, at_ns=now_ns)
