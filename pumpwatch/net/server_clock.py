"""Estimate the offset of our clock from the Date headers of the servers that answer.

A Date has whole seconds, so one answer is good to half a second and half the time that it took. The median over servers keeps one
server with a wrong clock out.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from pumpwatch.clock import NS_PER_S

KEPT = 32  # servers; the one that answered least recently is forgotten first
FRESH_NS = 900 * NS_PER_S  # older answers say nothing about the clock now
LONGEST_NS = 2 * NS_PER_S  # an answer that took longer says too little


class ServerClocks:
    """The offsets that the last answer of each server showed."""

    def __init__(self) -> None:
        self._offsets: dict[str, tuple[int, float]] = {}  # by host: when, and by how many seconds our clock is ahead

    def note(self, host: str, headers: Mapping[str, str], asked_at_ns: int, answered_at_ns: int) -> None:
        """Note an answer. One without a valid Date, from a cache (Age), or that took long is left out."""
        if answered_at_ns - asked_at_ns > LONGEST_NS or headers.get("Age", "0").strip() != "0":
            return
        try:
            theirs_s = parsedate_to_datetime(headers.get("Date", "")).timestamp() + 0.5  # the middle of the second that it names
        except (ValueError, OverflowError, TypeError):
            return
        self._offsets.pop(host, None)
        self._offsets[host] = answered_at_ns, (asked_at_ns + answered_at_ns) / 2 / NS_PER_S - theirs_s
        if len(self._offsets) > KEPT:
            del self._offsets[next(iter(self._offsets))]

    def offset_s(self, now_ns: int) -> float | None:
        """Return by how many seconds our clock is ahead, negative where it is behind; None without a recent answer.

        An offset of half a second or less cannot be told from none.
        """
        fresh = [offset_s for at_ns, offset_s in self._offsets.values() if abs(now_ns - at_ns) < FRESH_NS]
        return statistics.median(fresh) if fresh else None
