"""Estimates the offset of our clock from the Date headers of the servers that answer.

A Date has whole seconds, so one answer is accurate to half a second plus half the time that it took. The median over servers
excludes a single server with a wrong clock.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from pumpwatch.clock import NS_PER_S

KEPT = 32  # servers; the one that answered least recently is forgotten first
FRESH_NS = 900 * NS_PER_S  # older answers are not used
LONGEST_NS = 2 * NS_PER_S  # an answer that took longer is too inaccurate


class ServerClocks:
    """The offset of our clock by the last answer of each server."""

    def __init__(self) -> None:
        self._offsets: dict[str, tuple[int, float]] = {}  # host -> time of the answer, and seconds that our clock is ahead

    def record(self, host: str, headers: Mapping[str, str], asked_at_ns: int, answered_at_ns: int) -> None:
        """Record an answer. Answers without a valid Date, from a cache (Age) or after a long wait are left out."""
        if answered_at_ns - asked_at_ns > LONGEST_NS or headers.get("Age", "0").strip() != "0":
            return
        try:
            theirs_s = parsedate_to_datetime(headers.get("Date", "")).timestamp() + 0.5  # the middle of that second
        except (ValueError, OverflowError, TypeError):
            return
        self._offsets.pop(host, None)
        self._offsets[host] = answered_at_ns, (asked_at_ns + answered_at_ns) / 2 / NS_PER_S - theirs_s
        if len(self._offsets) > KEPT:
            del self._offsets[next(iter(self._offsets))]

    def offset_s(self, now_ns: int) -> float | None:
        """Return by how many seconds our clock is ahead, negative if it is behind; None without a recent answer.

        An offset of half a second or less may be a measuring error.
        """
        fresh = [offset_s for at_ns, offset_s in self._offsets.values() if abs(now_ns - at_ns) < FRESH_NS]
        return statistics.median(fresh) if fresh else None
