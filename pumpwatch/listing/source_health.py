"""The health of a source: logged once when it goes down and once when it is up again, and shown in the status."""

from __future__ import annotations

import logging
from typing import Any

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.net.texts import masked
from pumpwatch.printable import printable
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)


class SourceHealth:
    """The state of one source. up: whether it answers; None before its first answer or failure."""

    def __init__(self, source: str, clock: Clock, stats: Stats) -> None:
        self.up: bool | None = None
        self._source, self._clock, self._stats = source, clock, stats
        self._since_ns = clock.now_ns()
        self._reason = ""

    def mark_down(self, reason: str) -> None:
        """Record a failure; log only the first one."""
        self._reason = reason = printable(reason)
        if self.up is not False:
            self.up, self._since_ns = False, self._clock.now_ns()
            self._stats.set("listing_source_up", 0, source=self._source)
            log.warning("listing source down source=%s reason=%s", self._source, reason)

    def mark_up(self, url: str) -> None:
        """Record an answer from this address; log only the first one after a failure."""
        if self.up is not True:
            now_ns = self._clock.now_ns()
            if self.up is False:
                log.info("listing source up again source=%s after_s=%.0f url=%s", self._source,
                         (now_ns - self._since_ns) / NS_PER_S, masked(url))
            self.up, self._since_ns, self._reason = True, now_ns, ""
            self._stats.set("listing_source_up", 1, source=self._source)

    def state(self) -> dict[str, Any]:
        """Return source, up, since_ns, reason, and quarantined (rows rejected in this run)."""
        return {"source": self._source, "up": self.up, "since_ns": self._since_ns, "reason": self._reason,
                "quarantined": int(self._stats.get("listing_rejected_total", source=self._source))}
