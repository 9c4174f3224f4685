"""Schedule a collector's periodic jobs: figures, upkeep, retention, ledgers, reports, backup, health rows, summary."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import gevent
from gevent.threadpool import ThreadPool

from pumpwatch.app.backup_job import CHECK_S, BackupJob
from pumpwatch.app.health_rows import HealthRows
from pumpwatch.app.minute_ledger import MinuteLedger
from pumpwatch.app.parts import CollectorParts
from pumpwatch.app.retaining import Retaining
from pumpwatch.app.status import Status
from pumpwatch.app.store_watch import LOOK_S
from pumpwatch.backup.child import LONGEST_S
from pumpwatch.clock import ClockWatch
from pumpwatch.errors import PumpWatchError, StorageError
from pumpwatch.feeds.rate_limits import HALF
from pumpwatch.ops.health import problems, summary_line
from pumpwatch.ops.renewal_request import take_requests
from pumpwatch.ops.schedule import Scheduler
from pumpwatch.printable import printable
from pumpwatch.store.folder_lock import is_taken_over
from pumpwatch.store.scrub import Scrub

log = logging.getLogger(__name__)

REQUESTS_S, TAKEOVER_S = 1.0, 1.0
UPKEEP_S = 5.0
COMPACT_S = 2.0  # until it is compacted, a trade takes six times as much memory
DISK_S, MEMORY_S = 5.0, 5.0
RETENTION_S = 60.0
DAYS_LAST_S = 6 * 3600.0  # the limit for copying many days
LEDGER_UPKEEP_S, LEDGER_STEPS = 30.0, 200  # at most this many short transactions at a time
LEDGER_CHECK_S = 600.0
HEALTH_S = 60.0
COUNT_S, WATCHED_S, THIN_S, REPORT_S = 120.0, 5.0, 3600.0, 300.0
CLOCK_S = 1.0


class CollectorJobs:
    """The scheduler of one collector, and a check of the clock each second that does not depend on it."""

    def __init__(self, collector: CollectorParts, status: Status) -> None:
        self._collector, self._status = collector, status
        self.scheduler = Scheduler()
        self._clock_watch = ClockWatch(collector.clock)
        self._health_rows = HealthRows(collector, status.now)
        self.minutes = MinuteLedger(collector)
        self.retaining: Retaining | None = None  # created by `start`, once the drains are known
        self.backup = BackupJob(collector)
        self._symbols_refused = False
        self._absent_coins: set[str] = set()
        self._renewals: dict[str, tuple[int, float]] = {}  # venue -> connections to be renewed, and since when
        self._disk_thread = ThreadPool(1)  # a disk that hangs does not delay other jobs
        self._checking_thread = ThreadPool(1)  # reading hundreds of MB must not delay other jobs or a stop

    def start(self) -> None:
        """Start the scheduler with every job."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # APScheduler warns of each late job; a late run is skipped
        collector = self._collector
        self.every(1.0, self._status.write)
        self.every(REQUESTS_S, self._take_renewals)
        self.every(TAKEOVER_S, self._share_limits)
        self.every(DISK_S, self._look_at_disks, at_once=True)
        self.every(MEMORY_S, collector.memory.look, at_once=True)
        self.every(LOOK_S, collector.stores.look, at_once=True, name="look at stores")
        self.every(COMPACT_S, self._compact)
        self.every(UPKEEP_S, self._maintain)
        self.every(UPKEEP_S, self._write_symbols)
        self.every(UPKEEP_S, self._report_absent_coins)
        self.retaining = Retaining(collector, self.minutes.counted)
        self.every(RETENTION_S, self.retaining.journal.run, name="retention")
        self.every(RETENTION_S, self.retaining.drop_days, name="old days of sinks", lasts_s=DAYS_LAST_S)
        self.every(REQUESTS_S, self.retaining.take_request, lasts_s=DAYS_LAST_S)
        collector.supervisor.spawn("scrub", Scrub(collector.threaded_journal, collector.clock, collector.stats).run)
        self.every(LEDGER_UPKEEP_S, self._keep_ledger_small)
        self.every(LEDGER_CHECK_S, self._check_ledger, at_once=True)
        self.every(COUNT_S, self.minutes.count, at_once=True, name="count minutes")
        self.every(WATCHED_S, self.minutes.watch)
        self.every(THIN_S, self.minutes.thin)
        if collector.config.reports.enabled:
            self.every(REPORT_S, self.minutes.report, name="report")
        self.every(CHECK_S, self.backup.run, at_once=True, name="backup", lasts_s=LONGEST_S)
        self.every(collector.config.log.summary_s, self._summary)
        if collector.sinks:
            self.every(HEALTH_S, self._write_health)
        self.scheduler.start()
        collector.supervisor.spawn("clock", self._watch_clock)

    def every(self, seconds: float, job: Any, *, at_once: bool = False, name: str = "", lasts_s: float = 0.0) -> None:
        """Run a job every `seconds`, first after that time or `at_once`. A run may last `lasts_s` seconds."""
        options: dict[str, Any] = {"lasts_s": lasts_s} | ({"next_run_time": datetime.now(UTC)} if at_once else {})
        self.scheduler.add_job(job, "interval", seconds=seconds, **options, **({"id": name, "name": name} if name else {}))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each job, see `Scheduler.rows`."""
        return self.scheduler.rows()

    def stop(self) -> None:
        """Start no further jobs; running ones continue, except a long count."""
        self.minutes.stop()
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)

    def _watch_clock(self) -> None:
        while True:
            self.check_clock()
            gevent.sleep(CLOCK_S)

    def check_clock(self) -> None:
        """Log a step of the wall clock and reschedule every job."""
        step_s = self._clock_watch.check()
        if step_s:
            self._collector.stats.add("clock_steps_total")
            log.warning("clock stepped, jobs rescheduled; lags and windows around now are wrong by as much by_s=%+.1f", step_s)
            self.scheduler.reschedule_all()

    def _take_renewals(self) -> None:
        """Renew the connections of requested venues, and log when all connections of a venue are renewed."""
        wanted, now = take_requests(self._collector.folder), self._collector.clock.monotonic()
        for feeds in self._collector.venues:
            name = feeds.venue.name
            if name in wanted:
                feeds.renew("requested")
            left = feeds.awaiting_renewal()
            if left and (name in wanted or name not in self._renewals):
                log.info("connections are renewed one after the other venue=%s connections=%d", name, left)
                self._renewals[name] = left, now
            elif not left and name in self._renewals:
                number, began = self._renewals.pop(name)
                log.info("all connections are renewed venue=%s connections=%d took_s=%.0f", name, number, now - began)
            elif not left and name in wanted:
                log.info("renewal requested, but no connection is open venue=%s", name)

    def _share_limits(self) -> None:
        """Leave half of the venues' limits to a process that is taking over."""
        limits, part = self._collector.rate_limits, HALF if is_taken_over(self._collector.folder) else 1.0
        if part != limits.part:
            limits.use_part(part)
            log.info("another process is taking over, each uses half of the venues' limits" if part == HALF else
                     "the other process has given up, the venues' full limits are used again")

    def _look_at_disks(self) -> None:
        self._disk_thread.apply(self._collector.disk.look)

    def _compact(self) -> None:
        self._collector.memory_thread.apply(self._collector.recent.compact)

    def _maintain(self) -> None:
        try:
            self._collector.threaded_journal.maintain()
        except StorageError as error:  # the next run tries again; commits go on meanwhile
            log.debug("journal upkeep failed reason=%s", error)

    def _keep_ledger_small(self) -> None:
        try:
            for _ in range(LEDGER_STEPS):
                if not self._collector.threaded_ledger.upkeep(self._collector.clock.now_ns()):
                    return
        except StorageError as error:  # the next run tries again; the ledger itself logs its refusals
            log.debug("ledger upkeep failed reason=%s", error)

    def _check_ledger(self) -> None:
        try:
            self._checking_thread.apply(self._collector.journal.ledger.check)
        except StorageError as error:
            log.error("ledger check failed reason=%s", error.message)

    def _write_symbols(self) -> None:
        try:
            self._collector.memory_thread.apply(self._collector.symbols.write)
        except StorageError as error:
            if not self._symbols_refused:
                log.warning("symbols file not written, trying again reason=%s", error)
            self._symbols_refused = True
        else:
            self._symbols_refused = False

    def _report_absent_coins(self) -> None:
        """Log each chosen coin that no venue lists, once, after every venue has sent its list."""
        venues = self._collector.venues
        if not venues or not all(feeds.has_list for feeds in venues):
            return
        absent = set.intersection(*(set(feeds.absent_coins) for feeds in venues))
        for coin in sorted(absent - self._absent_coins):
            log.warning("no venue lists a chosen coin, check its spelling coin=%s", printable(coin))
        self._absent_coins = absent

    def _summary(self) -> None:
        status = self._status.now()
        found = problems(status)
        if found:
            log.warning("health %s | problems: %s", summary_line(status), "; ".join(found))
        else:
            log.info("health %s", summary_line(status))
        self._collector.ingest.log_rest()

    def _write_health(self) -> None:
        rows = self._health_rows.collect()
        if self._collector.cluster:
            rows = self._collector.cluster.health_rows(rows)
        for name, sink in self._collector.sinks.items():
            try:
                sink.write_health(rows)
            except PumpWatchError as error:
                self._collector.stats.add("health_rows_not_written_total", sink=name)
                log.debug("health rows not written sink=%s reason=%s", name, error)
