"""Quarantine the rejected rows of a source: each is recorded once, with one log line per look."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.validation import RejectedRow
from pumpwatch.records import KEPT_BYTES, Quarantined, Records

log = logging.getLogger(__name__)

MARKET_TYPE = "listing"  # in the column that holds the market type of a quarantined frame
KNOWN = 20_000  # rows remembered as recorded, since an invalid row is in the list on every look
RECORDED = 100  # rows recorded per look; the rest is only counted


class Quarantine:
    """The quarantine of one source."""

    def __init__(self, source: str, context: IntakeContext) -> None:
        self._source, self._context = source, context
        self._known: dict[bytes, None] = {}

    def record(self, rows: Sequence[RejectedRow]) -> None:
        """Record and log the rows that are new: store the first RECORDED of them, count all."""
        fresh = {digest: row for row in rows if (digest := _digest(row)) not in self._known}
        if not fresh:
            return
        self._known |= dict.fromkeys(fresh)
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        self._context.stats.add("listing_rejected_total", len(fresh), source=self._source)
        kept = list(fresh.values())
        now_ns = self._context.clock.now_ns()
        self._context.record(Records(quarantine=[
            Quarantined(now_ns, self._source, MARKET_TYPE, row.reason, row.payload[:KEPT_BYTES]) for row in kept[:RECORDED]]))
        log.warning("notices quarantined source=%s count=%d recorded=%d reason=%r row=%r", self._source, len(kept),
                    min(len(kept), RECORDED), kept[0].reason[:300], kept[0].payload[:200])


def _digest(row: RejectedRow) -> bytes:
    return hashlib.blake2b(row.reason.encode("utf-8", "replace") + b"\0" + row.payload, digest_size=8).digest()
