"""Decides how much journal is kept: by age and size, and never less than the sinks still need."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import StoreConfig
from pumpwatch.errors import StorageError
from pumpwatch.stats import Stats
from pumpwatch.store.expiry import Removed

log = logging.getLogger(__name__)

START_S = 600.0  # how much journal a start may expire at once
MOST_S = 3600.0  # how much at a time, later
CATCH_UP = 2.0  # hours an hour while behind, as after a long pause
STEP_S = 30.0  # our clocks part by that much between two looks: one of them was set


class RetainedJournal(Protocol):
    """What is asked of the journal, in its thread."""

    def expire(self, before_ns: int, max_bytes: int, sinks: Sequence[str], span_s: float) -> list[Removed]:
        """Unlink what is too old, as much as was written in `span_s`, or too much."""

    def newest_trades_ns(self) -> int:
        """Return the time by the newest trades' own clocks, 0 where none were stored in this run."""

    def size_bytes(self) -> int:
        """What the journal takes on disk."""


class SpaceAllowance:
    """How much of the journal may go for its age: what the passing of real time makes due, whatever the wall clock says.

    An hour of the monotonic clock allows an hour of journal, and two from the second hour on, so that a pause is caught up
    with. A step of the wall clock takes that back: nothing goes for an hour, and then an hour an hour.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ns, self._monotonic_s = clock.now_ns(), clock.monotonic()
        self._since_s = self._monotonic_s  # the start, or the last step
        self._stepped = False
        self.span_s = START_S

    def look(self) -> float:
        """Look at the clocks; return how much may go now, in seconds of journal."""
        wall_ns, monotonic_s = self._clock.now_ns(), self._clock.monotonic()
        passed_s = monotonic_s - self._monotonic_s
        stepped_s = (wall_ns - self._wall_ns) / NS_PER_S - passed_s
        self._wall_ns, self._monotonic_s = wall_ns, monotonic_s
        steady = monotonic_s - self._since_s >= MOST_S
        self.span_s = min(MOST_S, self.span_s + passed_s * (CATCH_UP if steady and not self._stepped else 1.0))
        if abs(stepped_s) > STEP_S:
            log.warning("clock stepped by_s=%.0f: no segment expires for its age within the next hour", stepped_s)
            self._since_s, self._stepped, self.span_s = monotonic_s, True, 0.0
            steady = False
        return self.span_s if steady or not self._stepped else 0.0


class Retention:
    """A job for the scheduler: `run` every minute.

    A segment goes once it is older than `retention_hours` and every sink has acknowledged it. Its age is told by our clock and
    by the newest trades' own times, whichever says less, and `SpaceAllowance` bounds what goes at a time. The oldest go before
    when all take more than `max_bytes`; where sinks still need them they stay, and that is said once.
    """

    def __init__(self, journal: RetainedJournal, options: StoreConfig, sinks: Sequence[str], clock: Clock, stats: Stats) -> None:
        self._journal, self._options, self._sinks = journal, options, tuple(sinks)
        self._clock, self._stats = clock, stats
        self._allowance = SpaceAllowance(clock)
        self._too_large = self._refused = False

    def run(self) -> list[Path]:
        """Expire what may go; return the files."""
        try:
            removed = [one.path for one in self._expire()]
        except StorageError as error:
            if not self._refused:
                log.error("retention refused reason=%s", error)
            self._refused = True
            return []
        self._refused = False
        size = self._journal.size_bytes()
        self._stats.set("journal_bytes", size)
        if removed:
            self._stats.add("journal_expired_segments_total", len(removed))
            log.info("retention removed=%d first=%s last=%s journal_bytes=%d", len(removed), removed[0].name,
                     removed[-1].name, size)
        too_large = size > self._options.max_bytes
        if too_large and not self._too_large:
            log.warning("journal larger than store.max_bytes bytes=%d max_bytes=%d sinks=%s: it keeps what they lack",
                        size, self._options.max_bytes, ",".join(self._sinks) or "-")
        self._too_large = too_large
        return removed

    def _expire(self) -> list[Removed]:
        now_ns = min(self._clock.now_ns(), self._journal.newest_trades_ns())
        span_s = self._allowance.look()
        removed = self._journal.expire(now_ns - int(self._options.retention_hours * 3600 * NS_PER_S), self._options.max_bytes,
                                       self._sinks, span_s)
        self._allowance.span_s -= sum(one.span_s for one in removed if not one.early)
        return removed
