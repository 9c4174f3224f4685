"""Connect the page's events to the collector's figures."""

from __future__ import annotations

from pumpwatch.api.broadcast import Broadcast
from pumpwatch.api.topics import Sources, Topics
from pumpwatch.app.jobs import CollectorJobs
from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.status import Status
from pumpwatch.ops.kept_warnings import KeptWarnings
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.listed import ListingRecord

LEDGER_ANSWER_S = 2.0


class PageEvents:
    """The events of one collector's page, and the log warnings that they show."""

    def __init__(self, collector: CollectorParts, status: Status, jobs: CollectorJobs) -> None:
        self._collector = collector
        self._warnings = KeptWarnings()
        topics = Topics(Sources(
            config=collector.config, clock=collector.clock, stats=collector.stats, catalogue=collector.catalogue,
            figures=lambda: status.last, jobs=jobs.rows, listings=self._listings, warnings=self._warnings.rows))
        self.broadcast = Broadcast(collector.clock, topics.tick, topics.all())

    def _listings(self) -> list[ListingRecord]:
        """Return every listing; only the caller waits for the ledger. Raises StorageError if it does not answer."""
        ledger = in_thread(self._collector.journal.ledger, self._collector.ledger_thread, within_s=LEDGER_ANSWER_S,
                           late="the ledger does not answer")
        return ledger.listings()

    def keep_warnings(self) -> None:
        """Begin to keep log warnings."""
        self._warnings.start()

    def start(self) -> None:
        """Send events while a page is open."""
        self._collector.supervisor.spawn("page", self.broadcast.run)
        self._collector.supervisor.spawn("page lists", self.broadcast.run_waiting)

    def stop(self) -> None:
        """End the streams of all pages."""
        self.broadcast.stop()
        self._warnings.stop()
