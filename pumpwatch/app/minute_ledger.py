"""Keep the ledger of minutes of a running collector: count stored trades, record watched symbols, and report each day.

All of it runs in a separate thread with the lowest priority. If the ledger of minutes does not take counts, the journal and its
expiry go on without it. A segment that stays locked delays the expiry for at most an hour.
"""

from __future__ import annotations

import logging

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.errors import StorageError
from pumpwatch.feeds.slices import Unwatched
from pumpwatch.model import IdKind
from pumpwatch.ops.completeness import VenueFacts
from pumpwatch.ops.daily_report import DailyReports
from pumpwatch.store.coverage import Venue
from pumpwatch.store.tally import Tally

log = logging.getLogger(__name__)

PAUSE_S = 0.02  # between two steps of counting
COUNT = "count"  # the only job that the expiry of segments waits for
HELD_UP_S = 3600.0  # a locked segment delays the expiry of later ones for at most this long


class MinuteLedger:
    """The jobs of the ledger of minutes."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector = collector
        venues = [*collector.plugins.venues, *(venue for venue, _ in collector.plugins.chosen(collector.config))]
        self._facts = {(venue.exchange, venue.market_type): VenueFacts(venue.id_kind, venue.history.skips_ids)
                       for venue in venues}
        self._tally = Tally(collector.folder, collector.journal.readable_segments, self._id_kind_of, collector.clock)
        self._reports = DailyReports(collector.folder, self._facts, collector.config.reports.keep_days)
        self._thread = ThreadPool(1)
        self._watched: dict[Venue, frozenset[str]] = {}  # as written
        self._unwatched: dict[Venue, list[Unwatched]] = {}  # not written yet
        self._written_to = 0  # the number of the tally's file that they are written to
        self._refused: dict[str, str] = {}  # job -> reason
        self._waits_since_s: float | None = None  # since when a locked segment delays the count, monotonic
        self._given_up = False  # the expiry waits no longer for that segment
        self._stopped = False

    def _id_kind_of(self, venue: Venue) -> IdKind:
        return self._facts[venue].id_kind if venue in self._facts else IdKind.UNIQUE

    def counted(self) -> int | None:
        """Return the last batch that is counted; None while the expiry need not wait for the count.

        It is None while the ledger of minutes refuses counts, and once a segment has been locked for HELD_UP_S.
        """
        return None if COUNT in self._refused or self._given_up else self._tally.counted_upto

    def stop(self) -> None:
        """End a long count early."""
        self._stopped = True

    def count(self) -> None:
        """Count what was stored since the last time."""
        try:
            while not self._stopped and self._thread.apply(self._tally.step):
                gevent.sleep(PAUSE_S)
        except StorageError as error:
            self._record_result(COUNT, error)
        else:
            self._record_result(COUNT, None)
            self._look_for_locks()
        self._collector.stats.set("counted_batches", self._tally.counted_upto)

    def _look_for_locks(self) -> None:
        """Measure how long a locked segment delays the count; after HELD_UP_S segments expire uncounted."""
        now = self._collector.clock.monotonic()
        locked = next((segment for segment in self._collector.journal.readable_segments()
                       if segment.locked and segment.last_id > self._tally.counted_upto), None)
        if locked is None:
            if self._given_up:
                log.info("locks of segments have ended, their minutes are counted again")
            self._waits_since_s, self._given_up = None, False
            return
        if self._waits_since_s is None:
            self._waits_since_s = now
        if now - self._waits_since_s >= HELD_UP_S and not self._given_up:
            log.warning("segment locked for too long, segments expire before their minutes are counted file=%s locked_s=%.0f",
                        locked.path.name, now - self._waits_since_s)
            self._given_up = True

    def watch(self) -> None:
        """Record which symbols are watched, if that has changed."""
        now_ns = self._collector.clock.now_ns()
        watched: dict[Venue, frozenset[str]] = {}
        for feeds in self._collector.venues:
            venue = feeds.venue.exchange, feeds.venue.market_type
            if feeds.has_list:
                watched[venue] = frozenset(feeds.watched())
            if (unwatched := feeds.take_unwatched()).since_ns:
                self._unwatched.setdefault(venue, []).append(unwatched)
        try:
            self._thread.apply(self._write_watched, (watched, now_ns))
            self._record_result("watch", None)
        except StorageError as error:
            self._record_result("watch", error)

    def _write_watched(self, watched: dict[Venue, frozenset[str]], now_ns: int) -> None:
        file = self._tally.file()
        if self._written_to != self._tally.opened:
            self._watched = {(last.exchange, last.market_type): last.symbols for last in file.watched()}
            self._written_to = self._tally.opened
        for venue, parts in list(self._unwatched.items()):
            for part in list(parts):  # first, so that a symbol that is back already is recorded as away in between
                before = self._watched.get(venue, frozenset())
                rest = frozenset() if part.every else before - part.symbols
                if rest != before:
                    file.watch(venue, rest, part.since_ns)
                    self._watched[venue] = rest
                parts.remove(part)
        for venue, symbols in watched.items():
            if self._watched.get(venue) != symbols:
                file.watch(venue, symbols, now_ns)
                self._watched[venue] = symbols

    def thin(self) -> None:
        """Drop records that are too old."""
        try:
            self._thread.apply(self._thin)
            self._record_result("thin", None)
        except StorageError as error:
            self._record_result("thin", error)

    def _thin(self) -> None:
        self._tally.file().thin(self._collector.clock.now_ns())

    def report(self) -> None:
        """Write the reports of the days that have ended; wait while the disk is nearly full."""
        if self._collector.disk.only_recording:
            return
        try:
            for path in self._thread.apply(self._reports.write_due, (self._collector.clock.now_ns(),)):
                log.info("daily report written file=%s", path)
            self._record_result("report", None)
        except StorageError as error:
            self._record_result("report", error)

    def _record_result(self, job: str, error: StorageError | None) -> None:
        """Log when a job of the ledger of minutes begins to fail, and when it succeeds again."""
        if error is None:
            if self._refused.pop(job, None) is not None:
                log.info("ledger of minutes is good again job=%s", job)
            return
        if job not in self._refused:
            log.warning("ledger of minutes refuses, trades are stored all the same job=%s reason=%s", job, error.message)
        self._refused[job] = error.message
