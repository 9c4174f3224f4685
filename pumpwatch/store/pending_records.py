"""Hold records on their way to the ledger in bounded memory, however long the ledger refuses them.

A repeated record is kept once, as in the ledger. Beyond the bounds, single rows become one growing gap per venue: a loss may be
recorded less exactly, but is never forgotten.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice

from pumpwatch.model import Gap, GapState
from pumpwatch.records import REFUSED_SLACK_NS, ConnectionEvent, GapFill, Quarantined, Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

QUARANTINE_KEPT = 2000  # of KEPT_BYTES each
GAPS_KEPT = 20_000
EVENTS_KEPT = 20_000
FILLS_KEPT = 20_000  # beyond that the oldest are forgotten: their gaps stay open and are worked on again
NOT_KEPT = "refused frames were not kept: the ledger took no records"
FOLDED = "gaps of single symbols or connections, too many to keep: the ledger took no records"

GapKey = tuple[str, str, str, int | None, int | None, int, tuple[str, ...]]


class PendingRecords:
    """Collects records, releases all of them for a write, and takes them back if the write failed."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._gaps: dict[GapKey, Gap] = {}
        self._events: list[ConnectionEvent] = []
        self._quarantine: list[Quarantined] = []
        self._fills: dict[tuple[GapKey, str], GapFill] = {}
        self._growing: dict[tuple[str, str, str], int] = {}  # (exchange, market_type, reason) -> the gap's from_ns
        self._logged = False

    def __bool__(self) -> bool:
        return bool(self._gaps or self._events or self._quarantine or self._fills)

    def add(self, records: Records) -> None:
        """Add records; beyond the bounds the oldest become gaps."""
        for gap in records.gaps:
            self._add_gap(gap)
        self._events += records.connection_events
        self._quarantine += records.quarantine
        self._fills.update(((gap_key(fill.gap), fill.symbol), fill) for fill in records.fills)
        self._keep_within_bounds()

    def records(self) -> Records:
        """Return a copy of all records."""
        return Records(list(self._gaps.values()), list(self._events), list(self._quarantine), fills=list(self._fills.values()))

    def take_records(self) -> Records:
        """Remove and return all records."""
        records = self.records()
        self._gaps, self._events, self._quarantine, self._fills = {}, [], [], {}
        return records

    def put_back(self, records: Records) -> None:
        """Take back the records of a failed write, as older than those that came meanwhile."""
        newer = self.take_records()
        self.add(records)
        self.add(newer)

    def mark_written(self) -> None:
        """Handle a successful write of `take_records`: rows that are dropped later begin another gap."""
        self._logged = False
        self.end_losses((NOT_KEPT, FOLDED))

    def end_losses(self, reasons: Collection[str]) -> None:
        """End the growing gaps of these reasons: the next loss begins another gap."""
        self._growing = {which: from_ns for which, from_ns in self._growing.items()
                         if which[2] not in reasons or (*which[:2], "", None, None, from_ns, ()) in self._gaps}

    def add_loss(self, exchange: str, market_type: str, from_ns: int, to_ns: int, reason: str) -> Gap:
        """Add a loss of a whole venue; return its gap, which grows with each loss for this reason until `end_losses`."""
        start_ns = self._growing.get((exchange, market_type, reason), from_ns)
        if from_ns < start_ns:
            old = self._gaps.pop((exchange, market_type, "", None, None, start_ns, ()), None)
            to_ns = max(to_ns, old.to_ns) if old else to_ns
            start_ns = from_ns
        self._growing[exchange, market_type, reason] = start_ns
        gap = Gap(exchange=exchange, market_type=market_type, from_ns=start_ns, to_ns=to_ns, reason=reason)
        self._add_gap(gap)
        return gap

    def _add_gap(self, gap: Gap) -> None:
        key = gap_key(gap)
        known = self._gaps.get(key)
        if known is None:
            self._gaps[key] = gap
        elif gap.state != GapState.OPEN and gap.to_ns < known.to_ns:
            return  # it has grown since it was filled
        elif gap.to_ns > known.to_ns or gap.state != GapState.OPEN:
            self._gaps[key] = replace(known, to_ns=max(known.to_ns, gap.to_ns), state=gap.state)

    def _keep_within_bounds(self) -> None:
        if len(self._quarantine) > QUARANTINE_KEPT:
            dropped, self._quarantine = self._quarantine[:-QUARANTINE_KEPT], self._quarantine[-QUARANTINE_KEPT:]
            self._count_dropped("quarantine rows", len(dropped))
            for row in dropped:
                self.add_loss(row.exchange, row.market_type, row.at_ns - REFUSED_SLACK_NS, row.at_ns + 1, NOT_KEPT)
        if len(self._gaps) > GAPS_KEPT:
            self._fold()
        for oldest in list(islice(self._fills, max(0, len(self._fills) - FILLS_KEPT))):
            del self._fills[oldest]
        if len(self._events) > EVENTS_KEPT:
            self._count_dropped("connection events", len(self._events) - EVENTS_KEPT)
            self._events = self._events[-EVENTS_KEPT:]

    def _fold(self) -> None:
        """Join the gaps of single symbols into one gap per venue; if that is not enough, join those of connections too."""
        still_open = [gap for gap in self._gaps.values() if gap.state == GapState.OPEN]
        self._fold_these("gaps of single symbols", [gap for gap in still_open if gap.symbol])
        if len(self._gaps) > GAPS_KEPT:
            self._fold_these("gaps of connections", [gap for gap in still_open if gap.symbols])

    def _fold_these(self, what: str, gaps: Sequence[Gap]) -> None:
        self._count_dropped(what, len(gaps))
        for gap in gaps:
            del self._gaps[gap_key(gap)]
        for gap in gaps:
            self.add_loss(gap.exchange, gap.market_type, gap.from_ns, gap.to_ns, FOLDED)

    def _count_dropped(self, what: str, count: int) -> None:
        self._stats.add("records_dropped_total", count)
        if not self._logged:
            self._logged = True
            log.error("records dropped, the ledger did not take them, a gap covers their times what=%r count=%d", what, count)


def gap_key(gap: Gap) -> GapKey:
    """Return the identity of a gap, here and in the ledger."""
    return gap.exchange, gap.market_type, gap.symbol, gap.first_id, gap.last_id, gap.from_ns, gap.symbols
