"""Connect the API to the collector whose figures it shows."""

from __future__ import annotations

from typing import Any

from gevent.threadpool import ThreadPool

from pumpwatch.api.access import access_of
from pumpwatch.api.broadcast import Broadcast
from pumpwatch.api.desk import Desk
from pumpwatch.api.service import Service
from pumpwatch.api.topics import Sources, Topics
from pumpwatch.app.jobs import Jobs
from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.status import Status
from pumpwatch.ops.kept_warnings import KeptWarnings
from pumpwatch.store.in_thread import in_thread
from pumpwatch.store.listed import ListingRecord

THREADS = 2
LEDGER_ANSWER_S = 2.0


class Serving:
    """The API of one collector, or none where the config says so. Raises ConfigError for an address that is not allowed."""

    def __init__(self, collector: CollectorParts, status: Status, jobs: Jobs) -> None:
        self._collector, self._status, self._jobs = collector, status, jobs
        self._warnings = KeptWarnings()
        self._broadcast = self._make_broadcast()
        access = access_of(collector.config)
        self.service = Service(self._desk(), access) if access is not None else None

    def _desk(self) -> Desk:
        collector = self._collector
        return Desk(config=collector.config, clock=collector.clock, stats=collector.stats, catalogue=collector.catalogue,
                    recent=collector.recent, figures=lambda: self._status.last, unready=self._unready, jobs=self._jobs.rows,
                    threads=ThreadPool(THREADS), broadcast=self._broadcast)

    def _make_broadcast(self) -> Broadcast:
        collector = self._collector
        topics = Topics(Sources(
            config=collector.config, clock=collector.clock, stats=collector.stats, catalogue=collector.catalogue,
            figures=lambda: self._status.last, jobs=self._jobs.rows, listings=self._listings, warnings=self._warnings.rows))
        return Broadcast(collector.clock, topics.tick, topics.all())

    def _listings(self) -> list[ListingRecord]:
        """Return every listing; the caller waits for the ledger. Raises StorageError where it does not answer."""
        ledger = in_thread(self._collector.journal.ledger, self._collector.ledger_thread, within_s=LEDGER_ANSWER_S,
                           late="the ledger does not answer")
        found: list[ListingRecord] = ledger.listings()
        return found

    def _unready(self) -> str:
        """Return the reason why the collector does not record."""
        figures: dict[str, Any] = self._status.last
        if not figures:
            return "it is starting"
        if figures["journal"]["dropped_trades"] and figures["journal"]["backlog_trades"]:
            return "the disk does not take the trades"
        return ""

    def start(self) -> None:
        """Have the API served."""
        if self.service is not None:
            self._warnings.start()
            self._collector.supervisor.spawn("api", self.service.run)
            self._collector.supervisor.spawn("page", self._broadcast.run)
            self._collector.supervisor.spawn("page, slow topics", self._broadcast.run_waiting)

    def stop(self) -> None:
        """Serve no more. Answers that are being sent are broken off."""
        if self.service is not None:
            self._broadcast.stop()
            self.service.stop()
            self._collector.supervisor.stop("api", 0.5)
            self._warnings.stop()
