"""Decides how much journal is kept: by age and size, and never less than the sinks still need."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from pumpwatch.clock import Clock
from pumpwatch.config import StoreConfig
from pumpwatch.errors import StorageError
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

KEPT_BEHIND_SINKS_S = 2 * 3600.0  # what every sink has is still kept so long: a window's past right after a restart


class RetainedJournal(Protocol):
    """What is asked of the journal, in its thread."""

    def expire(self, now_ns: int, retention_s: float, max_bytes: int, sinks: Sequence[str]) -> list[Path]:
        """Unlink what is too old or too much."""

    def size_bytes(self) -> int:
        """What the journal takes on disk."""


class Retention:
    """A job for the scheduler: `run` every minute.

    With sinks, a segment goes two hours after its last trade, once every sink has acknowledged it. Without, the journal
    is the store: segments go when older than `retention_hours`. Either way the oldest go first when all take more than
    `max_bytes`; where sinks still need them they stay, and that is said once.
    """

    def __init__(self, journal: RetainedJournal, options: StoreConfig, sinks: Sequence[str], clock: Clock, stats: Stats,
                 run_in_journal_thread: Callable[[Callable[[], list[Path]]], list[Path]]) -> None:
        self._journal, self._options, self._sinks = journal, options, tuple(sinks)
        self._clock, self._stats, self._in_journal_thread = clock, stats, run_in_journal_thread
        self._too_large = self._refused = False

    def run(self) -> list[Path]:
        """Expire what may go; return the files."""
        try:
            removed = self._in_journal_thread(self._expire)
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

    def _expire(self) -> list[Path]:
        now_ns = self._clock.now_ns()
        keep_s = self._options.retention_hours * 3600
        if self._sinks:
            keep_s = min(keep_s, KEPT_BEHIND_SINKS_S)
        return self._journal.expire(now_ns, keep_s, self._options.max_bytes, self._sinks)
