"""Where rows go that did not pass the border: to the quarantine, once each, and to the log, one line a look."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence

from pumpwatch.clock import Clock
from pumpwatch.listing.border import Bad
from pumpwatch.records import KEPT_BYTES, Quarantined, Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

MARKET_TYPE = "listing"  # stands where a frame's record has its market
KNOWN = 20_000  # rows whose record is remembered: a list shows a bad row on every look
RECORDED = 100  # of one look; the rest is counted

Record = Callable[[Records], None]


def record_nothing(records: Records) -> None:
    """Have no ledger."""


class Quarantine:
    """The quarantine of one source."""

    def __init__(self, source: str, record: Record, clock: Clock, stats: Stats) -> None:
        self._source, self._record, self._clock, self._stats = source, record, clock, stats
        self._known: dict[bytes, None] = {}

    def record(self, rows: Sequence[Bad]) -> None:
        """Record and log those not seen before; of many the first RECORDED are recorded, and all counted."""
        fresh = {_digest(one): one for one in rows}
        fresh = {digest: one for digest, one in fresh.items() if digest not in self._known}
        if not fresh:
            return
        self._known |= dict.fromkeys(fresh)
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        self._stats.add("listing_rejected_total", len(fresh), source=self._source)
        kept = list(fresh.values())
        self._record(Records(quarantine=[
            Quarantined(self._clock.now_ns(), self._source, MARKET_TYPE, one.reason, one.payload[:KEPT_BYTES])
            for one in kept[:RECORDED]]))
        log.warning("notices quarantined source=%s count=%d recorded=%d reason=%r row=%r", self._source, len(kept),
                    min(len(kept), RECORDED), kept[0].reason[:300], kept[0].payload[:200])


def _digest(one: Bad) -> bytes:
    return hashlib.blake2b(one.reason.encode("utf-8", "replace") + b"\0" + one.payload, digest_size=8).digest()
