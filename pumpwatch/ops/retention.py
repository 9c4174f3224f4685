"""Expire the journal by age and size; segments that a sink still needs are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import StoreConfig
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import StorageError
from pumpwatch.ops.disk_watch import STORE, DiskUse, Level
from pumpwatch.stats import Stats
from pumpwatch.store.expiry import Removed

log = logging.getLogger(__name__)

START_S = 600.0  # seconds of journal that may expire at once after a start
LARGEST_S = 3600.0  # seconds of journal that may expire at once later
CATCH_UP = 2.0  # hours of journal per hour, to catch up after a long pause
STEP_S = 30.0  # a larger difference of the clocks between two looks is a step of the wall clock


class RetainedJournal(Protocol):
    """The part of the journal that retention uses, in the journal's thread."""

    def expire(self, before_ns: int, max_bytes: int, sinks: Sequence[str], span_s: float,
               counted: int | None) -> list[Removed]:
        """Unlink segments that are too old, as many as were written in `span_s`, and those above the size limit.

        Segments with batches after `counted` stay; None: they do not.
        """

    def newest_trades_ns(self) -> int:
        """Return the time of the newest trades, by the venues' clocks; 0 if none were stored in this run."""

    def size_bytes(self, since_ns: int = 0) -> int:
        """Return the journal's size on disk, or the size of the segments that ended since then."""


class WatchedDisks(Protocol):
    """The watched disks, by name."""

    def level(self, name: str) -> Level:
        """Return the level of a disk."""

    def use_now(self, name: str) -> DiskUse | None:
        """Return the use of a disk at this moment; None for a disk that is not watched."""


def allowed_bytes(size: int, younger: int, use: DiskUse, level: Level, options: DiskConfig, *, in_sinks: bool) -> int:
    """Return the size to which a journal of `size` bytes must shrink for its disk to leave this level; `size` if it need not.

    A journal whose trades are also in sinks shrinks in an emergency; a journal that is the only store shrinks only on a full
    disk. younger: the bytes of young segments, which always stay.
    """
    if level < (Level.EMERGENCY if in_sinks else Level.FULL):
        return size
    threshold = options.emergency_percent if in_sinks else options.full_percent
    over = use.used - int(use.total * (threshold - options.back_percent) / 100)
    return max(younger, size - max(0, over))


class SpaceAllowance:
    """Limits the journal that may expire by age to the real time that has passed, so that a wrong wall clock does little harm.

    An hour of the monotonic clock allows an hour of journal; from the second hour on two, to catch up after a pause. After a step
    of the wall clock nothing expires for an hour, and then an hour of journal per hour.
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
            log.warning("clock stepped, no segment expires by age within the next hour by_s=%.0f", stepped_s)
            self._since_s, self._stepped, self.span_s = monotonic_s, True, 0.0
            steady = False
        return self.span_s if steady or not self._stepped else 0.0


class Retention:
    """A job for the scheduler: `run` every minute.

    A segment expires once it is older than `retention_hours`, every sink has acknowledged it, and its trades are counted in the
    ledger of minutes (up to batch `counted`). Its age is the smaller of that by our clock and that by the newest trades' own
    times, and `SpaceAllowance` limits how much expires at once. The oldest segments expire earlier if the journal is larger than
    `max_bytes`; segments that a sink still needs stay, which is logged once. On a disk that fills up they expire earlier as well,
    see `allowed_bytes`.
    """

    def __init__(self, journal: RetainedJournal, options: StoreConfig, sinks: Sequence[str], clock: Clock, stats: Stats,
                 counted: Callable[[], int | None] = lambda: None, disks: WatchedDisks | None = None,
                 disk: DiskConfig | None = None) -> None:
        self._journal, self._options, self._sinks = journal, options, tuple(sinks)
        self._clock, self._stats, self._counted = clock, stats, counted
        self._disks, self._disk = disks, disk or DiskConfig()
        self._allowance = SpaceAllowance(clock)
        self._too_large = self._failing = False

    def options_changed(self, options: StoreConfig, disk: DiskConfig) -> None:
        """Use other options from the next run on."""
        self._options, self._disk = options, disk

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
            log.warning("journal larger than store.max_bytes, these sinks still need it bytes=%d max_bytes=%d sinks=%s",
                        size, self._options.max_bytes, ",".join(self._sinks) or "-")
        self._too_large = too_large
        return removed

    def _expire(self) -> list[Removed]:
        now_ns = min(self._clock.now_ns(), self._journal.newest_trades_ns())
        span_s, most = self._allowance.look(), self._most_bytes(now_ns)
        removed = self._journal.expire(now_ns - int(self._options.retention_hours * 3600 * NS_PER_S), most, self._sinks, span_s,
                                       self._counted())
        self._allowance.span_s -= sum(segment.span_s for segment in removed if not segment.early)
        early = [segment for segment in removed if segment.early]
        if early and most < self._options.max_bytes and self._disks is not None:
            log.warning("journal shortened because the disk fills up level=%s removed=%d first=%s last=%s keeps_at_least_h=%.1f",
                        self._disks.level(STORE).word, len(early), early[0].path.name, early[-1].path.name,
                        self._disk.emergency_hours)
        return removed

    def _most_bytes(self, now_ns: int) -> int:
        """Return how large the journal may be: `max_bytes`, or less if its disk fills up."""
        use = self._disks.use_now(STORE) if self._disks is not None else None
        if self._disks is None or use is None or now_ns <= 0:
            return self._options.max_bytes
        younger = self._journal.size_bytes(now_ns - int(self._disk.emergency_hours * 3600 * NS_PER_S))
        return min(self._options.max_bytes, allowed_bytes(self._journal.size_bytes(), younger, use, self._disks.level(STORE),
                                                          self._disk, in_sinks=bool(self._sinks)))
