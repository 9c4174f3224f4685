"""Records on their way into the journal: kept while it refuses, and bounded however long it does.

What is told again is kept once, as the ledger would keep it. Beyond the bounds, rows become one growing gap a venue: what
is known of a loss may get coarser here, it never gets lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState
from pumpwatch.records import ConnectionEvent, PassedId, Quarantined, Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

QUARANTINE_KEPT = 2000  # of KEPT_BYTES each
GAPS_KEPT = 20_000
EVENTS_KEPT = 20_000
PASSED_KEPT = 100_000  # without them the next run may see a gap that is none
REFUSED_SLACK_NS = NS_PER_S  # trades of a frame are that much older than the frame, at most about

Key = tuple[str, str, str, int | None, int | None, int]


class PendingRecords:
    """Takes records, gives all of them for a commit, and takes them back when that failed."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._gaps: dict[Key, Gap] = {}
        self._events: list[ConnectionEvent] = []
        self._quarantine: list[Quarantined] = []
        self._passed: list[PassedId] = []
        self._growing: dict[tuple[str, str, str], int] = {}  # (exchange, market_type, reason) -> the gap's from_ns
        self._said = False

    def __bool__(self) -> bool:
        return bool(self._gaps or self._events or self._quarantine or self._passed)

    def add(self, records: Records) -> None:
        """Take records over."""
        for gap in records.gaps:
            self._add_gap(gap)
        self._events += records.connection_events
        self._quarantine += records.quarantine
        self._passed += records.passed
        if len(self._passed) > PASSED_KEPT:
            self._passed = self._passed[-PASSED_KEPT // 2:]
        self._keep_within_bounds()

    def take(self) -> Records:
        """Return all there is, for a commit."""
        records = Records(list(self._gaps.values()), self._events, self._quarantine, self._passed)
        self._gaps, self._events, self._quarantine, self._passed = {}, [], [], []
        return records

    def put_back(self, records: Records) -> None:
        """Take back what a failed commit had; it is older than what came meanwhile."""
        newer = self.take()
        self.add(records)
        self.add(newer)

    def written(self) -> None:
        """Note that a commit went through: what is lost from now on is another gap."""
        self._said = False
        self._growing = {which: from_ns for which, from_ns in self._growing.items()
                         if (*which[:2], "", None, None, from_ns) in self._gaps}

    def lost(self, exchange: str, market_type: str, from_ns: int, to_ns: int, reason: str) -> None:
        """Note a loss of a whole venue; losses of one kind while the journal refuses are one gap, which grows."""
        start_ns = self._growing.get((exchange, market_type, reason), from_ns)
        if from_ns < start_ns:
            old = self._gaps.pop((exchange, market_type, "", None, None, start_ns), None)
            to_ns = max(to_ns, old.to_ns) if old else to_ns
            start_ns = from_ns
        self._growing[exchange, market_type, reason] = start_ns
        self._add_gap(Gap(exchange=exchange, market_type=market_type, symbol="", from_ns=start_ns, to_ns=to_ns,
                          first_id=None, last_id=None, reason=reason))

    def _add_gap(self, gap: Gap) -> None:
        key = (gap.exchange, gap.market_type, gap.symbol, gap.first_id, gap.last_id, gap.from_ns)
        known = self._gaps.get(key)
        if known is None:
            self._gaps[key] = gap
        elif gap.to_ns > known.to_ns or gap.state != GapState.OPEN:
            self._gaps[key] = replace(known, to_ns=max(known.to_ns, gap.to_ns), state=gap.state)

    def _keep_within_bounds(self) -> None:
        if len(self._quarantine) > QUARANTINE_KEPT:
            dropped, self._quarantine = self._quarantine[:-QUARANTINE_KEPT], self._quarantine[-QUARANTINE_KEPT:]
            self._coarser("quarantine rows", len(dropped))
            for row in dropped:
                self.lost(row.exchange, row.market_type, row.at_ns - REFUSED_SLACK_NS, row.at_ns + 1,
                          "refused frames were not kept: the journal took no records")
        if len(self._gaps) > GAPS_KEPT:
            self._fold(list(self._gaps.values()))
        if len(self._events) > EVENTS_KEPT:
            self._coarser("connection events", len(self._events) - EVENTS_KEPT)
            self._events = self._events[-EVENTS_KEPT:]

    def _fold(self, gaps: Iterable[Gap]) -> None:
        """Make the gaps of single symbols one gap a venue."""
        single = [gap for gap in gaps if gap.symbol and gap.state == GapState.OPEN]
        self._gaps = {key: gap for key, gap in self._gaps.items() if not gap.symbol or gap.state != GapState.OPEN}
        self._coarser("gaps of single symbols", len(single))
        for gap in single:
            self.lost(gap.exchange, gap.market_type, gap.from_ns, gap.to_ns,
                      "gaps of single symbols, too many to keep: the journal took no records")

    def _coarser(self, what: str, count: int) -> None:
        self._stats.add("records_dropped_total", count)
        if not self._said:
            self._said = True
            log.error("records are dropped, the journal refuses them what=%s count=%d: their times stay, as a gap", what, count)
