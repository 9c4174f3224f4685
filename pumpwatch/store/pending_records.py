"""Records on their way into the ledger: kept while it refuses, and bounded however long it does.

What is told again is kept once, as the ledger would keep it. Beyond the bounds, rows become one growing gap a venue: what
is known of a loss may get coarser here, it never gets lost.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from pumpwatch.model import Gap, GapState
from pumpwatch.records import REFUSED_SLACK_NS, ConnectionEvent, Quarantined, Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

QUARANTINE_KEPT = 2000  # of KEPT_BYTES each
GAPS_KEPT = 20_000
EVENTS_KEPT = 20_000
NOT_KEPT = "refused frames were not kept: the ledger took no records"
FOLDED = "gaps of single symbols or connections, too many to keep: the ledger took no records"

Key = tuple[str, str, str, int | None, int | None, int, tuple[str, ...]]


class PendingRecords:
    """Takes records, gives all of them for a commit, and takes them back when that failed."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._gaps: dict[Key, Gap] = {}
        self._events: list[ConnectionEvent] = []
        self._quarantine: list[Quarantined] = []
        self._growing: dict[tuple[str, str, str], int] = {}  # (exchange, market_type, reason) -> the gap's from_ns
        self._said = False

    def __bool__(self) -> bool:
        return bool(self._gaps or self._events or self._quarantine)

    def add(self, records: Records) -> None:
        """Take records over."""
        for gap in records.gaps:
            self._add_gap(gap)
        self._events += records.connection_events
        self._quarantine += records.quarantine
        self._keep_within_bounds()

    def take_records(self) -> Records:
        """Return all there is, for a commit."""
        records = Records(list(self._gaps.values()), self._events, self._quarantine)
        self._gaps, self._events, self._quarantine = {}, [], []
        return records

    def put_back(self, records: Records) -> None:
        """Take back what a failed commit had; it is older than what came meanwhile."""
        newer = self.take_records()
        self.add(records)
        self.add(newer)

    def written(self) -> None:
        """Note that the ledger took what was taken: what is lost here from now on is another gap."""
        self._said = False
        self.settled((NOT_KEPT, FOLDED))

    def settled(self, reasons: Collection[str]) -> None:
        """Note that a loss for these reasons has ended: the next one is another gap."""
        self._growing = {which: from_ns for which, from_ns in self._growing.items()
                         if which[2] not in reasons or (*which[:2], "", None, None, from_ns, ()) in self._gaps}

    def lost(self, exchange: str, market_type: str, from_ns: int, to_ns: int, reason: str) -> None:
        """Note a loss of a whole venue; losses of one kind are one gap, which grows until they have ended."""
        start_ns = self._growing.get((exchange, market_type, reason), from_ns)
        if from_ns < start_ns:
            old = self._gaps.pop((exchange, market_type, "", None, None, start_ns, ()), None)
            to_ns = max(to_ns, old.to_ns) if old else to_ns
            start_ns = from_ns
        self._growing[exchange, market_type, reason] = start_ns
        self._add_gap(Gap(exchange=exchange, market_type=market_type, symbol="", from_ns=start_ns, to_ns=to_ns,
                          first_id=None, last_id=None, reason=reason))

    def _add_gap(self, gap: Gap) -> None:
        key = _key(gap)
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
                self.lost(row.exchange, row.market_type, row.at_ns - REFUSED_SLACK_NS, row.at_ns + 1, NOT_KEPT)
        if len(self._gaps) > GAPS_KEPT:
            self._fold()
        if len(self._events) > EVENTS_KEPT:
            self._coarser("connection events", len(self._events) - EVENTS_KEPT)
            self._events = self._events[-EVENTS_KEPT:]

    def _fold(self) -> None:
        """Make the gaps of single symbols, and where that is not enough those of connections, one gap a venue."""
        still = [gap for gap in self._gaps.values() if gap.state == GapState.OPEN]
        self._fold_these("gaps of single symbols", [gap for gap in still if gap.symbol])
        if len(self._gaps) > GAPS_KEPT:
            self._fold_these("gaps of connections", [gap for gap in still if gap.symbols])

    def _fold_these(self, what: str, gaps: Sequence[Gap]) -> None:
        self._coarser(what, len(gaps))
        for gap in gaps:
            del self._gaps[_key(gap)]
        for gap in gaps:
            self.lost(gap.exchange, gap.market_type, gap.from_ns, gap.to_ns, FOLDED)

    def _coarser(self, what: str, count: int) -> None:
        self._stats.add("records_dropped_total", count)
        if not self._said:
            self._said = True
            log.error("records are dropped, the ledger refuses them what=%s count=%d: their times stay, as a gap", what, count)


def _key(gap: Gap) -> Key:
    """Return what tells a gap from others, as the ledger does."""
    return gap.exchange, gap.market_type, gap.symbol, gap.first_id, gap.last_id, gap.from_ns, gap.symbols
