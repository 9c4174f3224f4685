"""Keep the ledger of minutes of a running collector: count what is stored, note what is watched, and report each day.

All of it runs in a thread of its own, behind everything else. Where the ledger of minutes refuses, the journal and its expiry go
on without it.
"""

from __future__ import annotations

import logging

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.errors import StorageError
from pumpwatch.model import IdKind
from pumpwatch.ops.completeness import VenueFacts
from pumpwatch.ops.daily_report import DailyReports
from pumpwatch.store.coverage import Venue
from pumpwatch.store.tally import Tally

log = logging.getLogger(__name__)

PAUSE_S = 0.02  # between two steps of counting


class MinuteLedger:
    """The jobs that concern the ledger of minutes."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector = collector
        venues = [*collector.plugins.venues, *(venue for venue, _ in collector.plugins.chosen(collector.config))]
        self._facts = {(venue.exchange, venue.market_type): VenueFacts(venue.id_kind, venue.history.skips_ids)
                       for venue in venues}
        self._tally = Tally(collector.folder, collector.journal.readable_segments, self._id_kind_of, collector.clock)
        self._reports = DailyReports(collector.folder, self._facts, collector.config.reports.keep_days)
        self._thread = ThreadPool(1)
        self._watched: dict[Venue, frozenset[str]] = {}  # as written
        self._written_to = 0  # which file of the tally they are written to
        self._refused = ""
        self._stopped = False

    def _id_kind_of(self, venue: Venue) -> IdKind:
        return self._facts[venue].id_kind if venue in self._facts else IdKind.UNIQUE

    def counted(self) -> int | None:
        """Return the last batch that is counted; None while the ledger of minutes refuses, so that nothing waits for it."""
        return None if self._refused else self._tally.counted_upto

    def stop(self) -> None:
        """End a long count early."""
        self._stopped = True

    def count(self) -> None:
        """Count what was stored since the last time."""
        try:
            while not self._stopped and self._thread.apply(self._tally.step):
                gevent.sleep(PAUSE_S)
        except StorageError as error:
            self._note(error)
        else:
            self._note(None)
        self._collector.stats.set("counted_batches", self._tally.counted_upto)

    def watch(self) -> None:
        """Record which symbols are watched, where that has changed."""
        now_ns = self._collector.clock.now_ns()
        watched = {(feeds.venue.exchange, feeds.venue.market_type): frozenset(feeds.watched()) for feeds in self._collector.venues
                   if feeds.has_list}
        try:
            self._thread.apply(self._write_watched, (watched, now_ns))
        except StorageError as error:
            self._note(error)

    def _write_watched(self, watched: dict[Venue, frozenset[str]], now_ns: int) -> None:
        file = self._tally.file()
        if self._written_to != self._tally.opened:
            self._watched = {(last.exchange, last.market_type): last.symbols for last in file.watched()}
            self._written_to = self._tally.opened
        for venue, symbols in watched.items():
            if self._watched.get(venue) != symbols:
                file.watch(venue, symbols, now_ns)
                self._watched[venue] = symbols

    def thin(self) -> None:
        """Drop what is too old to be kept."""
        try:
            self._thread.apply(self._thin)
        except StorageError as error:
            self._note(error)

    def _thin(self) -> None:
        self._tally.file().thin(self._collector.clock.now_ns())

    def report(self) -> None:
        """Write the reports of the days that have ended."""
        try:
            for path in self._thread.apply(self._reports.write_due, (self._collector.clock.now_ns(),)):
                log.info("daily report written file=%s", path)
        except StorageError as error:
            self._note(error)

    def _note(self, error: StorageError | None) -> None:
        """Log when the ledger of minutes begins to refuse, and when it is good again."""
        reason = error.message if error else ""
        if reason and not self._refused:
            log.warning("ledger of minutes refuses, trades are stored all the same reason=%s", reason)
        elif self._refused and not reason:
            log.info("ledger of minutes is good again")
        self._refused = reason
