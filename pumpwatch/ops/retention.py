"""Expire the journal by age and size; segments that a sink still needs are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import StoreConfig
from pumpwatch.errors import StorageError
from pumpwatch.stats import Stats
from pumpwatch.store.expiry import Removed

log = logging.getLogger(__name__)

START_S = 600.0  # journal time that a start may expire at once
LARGEST_S = 3600.0  # journal time at once, later
CATCH_UP = 2.0  # hours of journal an hour while behind, as after a long pause
STEP_S = 30.0  # a larger difference between the clocks, from one look to the next, is a step of the wall clock


class RetainedJournal(Protocol):
    """The part of the journal that retention uses, in the journal's thread."""

    def expire(self, before_ns: int, max_bytes: int, sinks: Sequence[str], span_s: float,
               counted: int | None) -> list[Removed]:
        """Unlink segments that are too old, as many as were written in `span_s`, and those above the size limit.

        Those behind batch `counted` are not too old yet; None: all may be.
        """

    def newest_trades_ns(self) -> int:
        """Return the time of the newest trades, by the venues' clocks; 0 where none were stored in this run."""

    def size_bytes(self) -> int:
        """Return the journal's size on disk."""


class SpaceAllowance:
    """Bounds how much journal may expire by age to the real time that has passed, whatever the wall clock says.

    An hour of the monotonic clock allows an hour of journal, and two from the second hour on, to catch up after a pause.
    After a step of the wall clock nothing expires for an hour, and then one hour an hour.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_ns, self._monotonic_s = clock.now_ns(), clock.monotonic()
        self._since_s = self._monotonic_s  # the start, or the last step
        self._stepped = False
        self.span_s = START_S

    def look(self) -> float:
        """Read the clocks; return how much may expire now, in seconds of journal."""
        wall_ns, monotonic_s = self._clock.now_ns(), self._clock.monotonic()
        passed_s = monotonic_s - self._monotonic_s
        stepped_s = (wall_ns - self._wall_ns) / NS_PER_S - passed_s
        self._wall_ns, self._monotonic_s = wall_ns, monotonic_s
        steady = monotonic_s - self._since_s >= LARGEST_S
        self.span_s = min(LARGEST_S, self.span_s + passed_s * (CATCH_UP if steady and not self._stepped else 1.0))
        if abs(stepped_s) > STEP_S:
            log.warning("clock stepped by_s=%.0f: no segment expires by age within the next hour", stepped_s)
            self._since_s, self._stepped, self.span_s = monotonic_s, True, 0.0
            steady = False
        return self.span_s if steady or not self._stepped else 0.0


class Retention:
    """A job for the scheduler: `run` every minute.

    A segment expires once it is older than `retention_hours`, every sink has acknowledged it, and its trades are counted in the
    ledger of minutes (up to batch `counted`). Its age is the smaller one by
    our clock and by the newest trades' own times, and `SpaceAllowance` bounds how much expires at once. The oldest segments
    expire earlier where the journal is larger than `max_bytes`; those that a sink still needs stay, which is logged once.
    """

    def __init__(self, journal: RetainedJournal, options: StoreConfig, sinks: Sequence[str], clock: Clock, stats: Stats,
                 counted: Callable[[], int | None] = lambda: None) -> None:
        self._journal, self._options, self._sinks = journal, options, tuple(sinks)
        self._clock, self._stats, self._counted = clock, stats, counted
        self._allowance = SpaceAllowance(clock)
        self._too_large = self._failing = False

    def run(self) -> list[Path]:
        """Expire the segments that may go; return their files."""
        try:
            removed = [segment.path for segment in self._expire()]
        except StorageError as error:
            if not self._failing:
                log.error("retention failed reason=%s", error)
            self._failing = True
            return []
        self._failing = False
        size = self._journal.size_bytes()
        self._stats.set("journal_bytes", size)
        if removed:
            self._stats.add("journal_expired_segments_total", len(removed))
            log.info("retention removed=%d first=%s last=%s journal_bytes=%d", len(removed), removed[0].name,
                     removed[-1].name, size)
        too_large = size > self._options.max_bytes
        if too_large and not self._too_large:
            log.warning("journal larger than store.max_bytes bytes=%d max_bytes=%d sinks=%s: these sinks still need it",
                        size, self._options.max_bytes, ",".join(self._sinks) or "-")
        self._too_large = too_large
        return removed

    def _expire(self) -> list[Removed]:
        now_ns = min(self._clock.now_ns(), self._journal.newest_trades_ns())
        span_s = self._allowance.look()
        removed = self._journal.expire(now_ns - int(self._options.retention_hours * 3600 * NS_PER_S), self._options.max_bytes,
                                       self._sinks, span_s, self._counted())
        self._allowance.span_s -= sum(segment.span_s for segment in removed if not segment.early)
        return removed
